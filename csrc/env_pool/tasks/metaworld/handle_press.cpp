// Press a handle down. Source: metaworld 3.1.1, SawyerHandlePressEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

constexpr double kRadius = 0.02;  // m, of the goal and of the handle

class HandlePress final : public SawyerEnv {
  public:
    HandlePress(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          box_(body("box")),
          handle_(site("handleStart")),
          goal_(site("goalPress")) {}

  protected:
    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override { set_body_pos(box_, {rv[0], rv[1], rv[2]}); }

    void place(const double* rv) override {
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);
        const double raised = -0.001;
        set_positions(kArmJoints, &raised, 1, kArmJoints, 1);
        std::copy_n(site_position(goal_), 3, target_pos_.begin());
        std::copy_n(site_position(handle_), 3, handle_init_pos_.begin());
        max_distance_ = std::abs(handle_init_pos_[2] - target_pos_[2]);
        target_reward_ = 1000 * max_distance_ + 1000 * 2;
    }

    void observe_objects(double* frame) const override { std::copy_n(site_position(handle_), 3, frame + 4); }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* handle = obs + 4;
        const double left = std::abs(handle[2] - target_pos_[2]);
        Evaluation result;
        result.success = left <= kRadius;
        if (!want_reward) return result;
        if (result.success) {
            result.reward = 10.0;
            return result;
        }
        const double start = std::abs(handle_init_pos_[2] - target_pos_[2]);
        const double in_place = long_tail_tolerance(left, 0.0, kRadius, std::abs(start - kRadius));
        const double reach_start = distance3(handle_init_pos_.data(), init_tcp_.data());
        const double reach = long_tail_tolerance(distance3(handle, tcp_center().data()), 0.0, kRadius,
                                                 std::abs(reach_start - kRadius));
        result.reward = hamacher_product(reach, in_place).value * 10.0;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"_handle_init_pos", handle_init_pos_.data(), 3});
        list->push_back({"maxDist", &max_distance_, 1, true});
        list->push_back({"target_reward", &target_reward_, 1, true});
    }

  private:
    int box_, handle_, goal_;
    Vec3 handle_init_pos_{};
    double max_distance_ = 0.0, target_reward_ = 0.0;
};

}  // namespace

SawyerTask handle_press_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_handle_press.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.1, 0.8, -0.001},
                    .random_high = {0.1, 0.9, 0.001},
                    .goal_low = {-0.1, 0.55, 0.04},
                    .goal_high = {0.1, 0.70, 0.08}};
    return {spec, false, make_sawyer<HandlePress>};
}

}  // namespace ibrl::metaworld
