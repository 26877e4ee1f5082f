// Push a drawer in. Source: metaworld 3.1.1, SawyerDrawerCloseEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

constexpr double kOpening = 0.15;  // m

class DrawerClose final : public SawyerEnv {
  public:
    DrawerClose(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          drawer_(body("drawer")),
          link_(body("drawer_link")),
          goal_(site("goal")) {}

  protected:
    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[0], rv[1] + -0.16, rv[2] + 0.09};
        set_body_pos(drawer_, {rv[0], rv[1], rv[2]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        // The drawer starts pulled out; its speed stays as it was.
        edit_model(rv);
        const double opening = -kOpening;
        set_positions(9, &opening, 1, 9, 0);
        double frame[kFrameDim];
        compute_frame(frame);
        std::copy_n(frame + 4, 3, obj_init_pos_.begin());
    }

    void observe_objects(double* frame) const override {
        const double* link = body_position(link_);
        frame[4] = link[0];
        frame[5] = link[1] + -0.16;
        frame[6] = link[2] + 0.05;
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double* handle = obs + 4;
        const double to_target = distance3(handle, target_pos_.data());
        Evaluation result;
        result.success = to_target <= 0.05 + 0.015;
        if (!want_reward) return result;
        if (result.success) {
            result.reward = 10.0;
            return result;
        }
        const double start = distance3(obj_init_pos_.data(), target_pos_.data());
        const Scalar in_place = long_tail_tolerance(to_target, 0.0, 0.05, std::abs(start - 0.05));
        const double reach_start = distance3(obj_init_pos_.data(), init_tcp_.data());
        const Scalar reach = gaussian_tolerance(distance3(handle, tcp_center().data()), 0.0, 0.005,
                                                std::abs(reach_start - 0.005));
        const Scalar closed = hamacher_product(reach, closing_effort(action));
        result.reward = (hamacher_product(closed, in_place) * Scalar(10.0)).value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxDist", &max_distance_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
        list->push_back({"target_reward", &target_reward_, 1, true});
    }

  private:
    int drawer_, link_, goal_;
    double max_distance_ = kOpening, obj_init_angle_ = 0.3, target_reward_ = 1000 * kOpening + 1000 * 2;
};

}  // namespace

SawyerTask drawer_close_task() {
    const double hand_height = 0.2f, hand_y = 0.6f;  // published as float32
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_drawer.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, hand_y, hand_height},
                    .random_low = {-0.1, 0.9, 0.0},
                    .random_high = {0.1, 0.9, 0.0},
                    .goal_low = {-0.5, 0.40, 0.05},
                    .goal_high = {0.5, 1.0, 0.5}};
    return {spec, true, make_sawyer<DrawerClose>};
}

}  // namespace ibrl::metaworld
