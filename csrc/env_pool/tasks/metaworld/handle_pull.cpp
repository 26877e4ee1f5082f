// Pull a handle up. Source: metaworld 3.1.1, SawyerHandlePullEnvV3.
#include "env_pool/tasks/metaworld/handle.h"

namespace ibrl::metaworld {
namespace {

class HandlePullFront final : public HandlePull {
  public:
    using HandlePull::HandlePull;

  protected:
    void place(const double* rv) override {
        // The published distance starts at the handle's place inside its own body.
        HandlePull::place(rv);
        max_distance_ = std::abs(model()->site_pos[3 * handle_start_ + 2] - target_pos_[2]);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double to_target = std::abs(target_pos_[2] - obs[6]);
        Evaluation result;
        result.success = to_target <= kGoalRadius;
        if (!want_reward) return result;
        result.reward = pull_reward(obs, action,
                                    {.to_target = to_target,
                                     .start_to_target = std::abs(target_pos_[2] - obj_init_pos_[2]),
                                     .is_lifted = obs[5] - 0.01 > obj_init_pos_[2],  // as published: y over z
                                     .caging = {.obj_radius = 0.022,
                                                .pad_success_thresh = 0.05,
                                                .object_reach_radius = 0.01,
                                                .xz_thresh = 0.01,
                                                .high_density = true}});
        return result;
    }
};

}  // namespace

SawyerTask handle_pull_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_handle_press.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.1, 0.8, -0.001},
                    .random_high = {0.1, 0.9, 0.001},
                    .goal_low = {-0.1, 0.55, 0.04},
                    .goal_high = {0.1, 0.70, 0.18}};
    const Handle::Parts parts{.handle = "handleRight", .goal = "goalPull", .start = -0.1};
    return {spec, false, make_sawyer_from<HandlePullFront>(parts)};
}

}  // namespace ibrl::metaworld
