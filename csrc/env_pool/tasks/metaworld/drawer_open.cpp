// Pull a drawer out. Source: metaworld 3.1.1, SawyerDrawerOpenEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

constexpr double kOpening = 0.2;  // m

class DrawerOpen final : public SawyerEnv {
  public:
    DrawerOpen(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          drawer_(body("drawer")),
          link_(body("drawer_link")),
          goal_(site("goal")) {}

  protected:
    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[0], rv[1] + (-0.16 - kOpening), rv[2] + 0.09};
        set_body_pos(drawer_, {rv[0], rv[1], rv[2]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        compute_frame(settled_frame_.data());
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);
    }

    void observe_objects(double* frame) const override {
        const double* link = body_position(link_);
        frame[4] = link[0];
        frame[5] = link[1] + -0.16;
        frame[6] = link[2];
        std::copy_n(data_->xquat + 4 * link_, 4, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* handle = obs + 4;
        const double error = distance3(handle, target_pos_.data());
        Evaluation result;
        result.success = error <= 0.03;
        if (!want_reward) return result;

        // Opening, and the hand at the handle (errors in x and y count three times).
        const double opening = long_tail_tolerance(error, 0.0, 0.02, kOpening);
        const double reach[3] = {(handle[0] - obs[0]) * 3.0, (handle[1] - obs[1]) * 3.0, handle[2] - obs[2]};
        const double start[3] = {(target_pos_[0] - init_tcp_[0]) * 3.0,
                                 (target_pos_[1] + kOpening - init_tcp_[1]) * 3.0,
                                 target_pos_[2] - init_tcp_[2]};
        const double caging = long_tail_tolerance(norm3(reach), 0.0, 0.01, norm3(start));
        result.reward = (caging + opening) * 5.0;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxDist", &max_distance_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
        list->push_back({"prev_obs", settled_frame_.data(), kFrameDim});
        list->push_back({"target_reward", &target_reward_, 1, true});
    }

  private:
    int drawer_, link_, goal_;
    std::array<double, kFrameDim> settled_frame_{};
    double max_distance_ = kOpening, obj_init_angle_ = 0.3, target_reward_ = 1000 * kOpening + 1000 * 2;
};

}  // namespace

SawyerTask drawer_open_task() {
    const double hand_height = 0.2f, hand_y = 0.6f;  // published as float32
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_drawer.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, hand_y, hand_height},
                    .random_low = {-0.1, 0.9, 0.0},
                    .random_high = {0.1, 0.9, 0.0},
                    .goal_low = {-0.5, 0.40, 0.05},
                    .goal_high = {0.5, 1.0, 0.5}};
    return {spec, true, make_sawyer<DrawerOpen>};
}

}  // namespace ibrl::metaworld
