// Slide a window open. Source: metaworld 3.1.1, SawyerWindowOpenEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

class WindowOpen final : public SawyerEnv {
  public:
    WindowOpen(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          window_(body("window")),
          handle_(site("handleOpenStart")),
          goal_(site("goal")),
          slide_(joint_position("window_slide")) {}

  protected:
    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[0] + 0.2, rv[1], rv[2]};
        set_body_pos(window_, {rv[0], rv[1], rv[2]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        compute_frame(settled_frame_.data());
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);

        // The published code reads the handle before the window has moved, and slides it without a forward
        // pass.
        std::copy_n(site_position(handle_), 3, handle_init_pos_.begin());
        data_->qpos[slide_] = 0.0;
    }

    void observe_objects(double* frame) const override { std::copy_n(site_position(handle_), 3, frame + 4); }

    Evaluation evaluate(const double*, const float*, bool want_reward) const override {
        const double* handle = site_position(handle_);
        const double to_target = std::abs(handle[0] - target_pos_[0]);
        Evaluation result;
        result.success = to_target <= 0.05;
        if (!want_reward) return result;
        const double start = std::abs(obj_init_pos_[0] - target_pos_[0]);
        const double in_place = long_tail_tolerance(to_target, 0.0, 0.05, std::abs(start - 0.05));
        const double reach_start = distance3(handle_init_pos_.data(), init_tcp_.data());
        const double reach = long_tail_tolerance(distance3(handle, tcp_center().data()), 0.0, 0.02,
                                                 std::abs(reach_start - 0.02));
        result.reward = 10.0 * hamacher_product(reach, in_place).value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxPullDist", &max_pull_distance_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
        list->push_back({"prev_obs", settled_frame_.data(), kFrameDim});
        list->push_back({"target_reward", &target_reward_, 1, true});
        list->push_back({"window_handle_pos_init", handle_init_pos_.data(), 3});
    }

  private:
    int window_, handle_, goal_, slide_;
    std::array<double, kFrameDim> settled_frame_{};
    Vec3 handle_init_pos_{};
    double max_pull_distance_ = 0.2, obj_init_angle_ = 0.3, target_reward_ = 1000 * 0.2 + 1000 * 2;
};

}  // namespace

SawyerTask window_open_task() {
    const double hand_height = 0.2f, hand_y = 0.4f;  // published as float32
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_window_horizontal.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, hand_y, hand_height},
                    .random_low = {-0.1, 0.7, 0.16},
                    .random_high = {0.1, 0.9, 0.16},
                    .goal_low = {-0.5, 0.40, 0.05},
                    .goal_high = {0.5, 1.0, 0.5}};
    return {spec, true, make_sawyer<WindowOpen>};
}

}  // namespace ibrl::metaworld
