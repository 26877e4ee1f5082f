// Pull a handle up, its box on the left. Source: metaworld 3.1.1, SawyerHandlePullSideEnvV3.
#include "env_pool/tasks/metaworld/handle.h"

namespace ibrl::metaworld {
namespace {

class HandlePullSide final : public HandlePull {
  public:
    using HandlePull::HandlePull;

  protected:
    void place(const double* rv) override {
        HandlePull::place(rv);
        obj_init_pos_ = handle_init_pos_;
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double to_target = distance3(obs + 4, target_pos_.data());
        Evaluation result;
        result.success = to_target <= 0.08;
        if (!want_reward) return result;
        result.reward = pull_reward(obs, action,
                                    {.to_target = to_target,
                                     .start_to_target = distance3(obj_init_pos_.data(), target_pos_.data()),
                                     .is_lifted = obs[6] - 0.01 > obj_init_pos_[2],
                                     .caging = {.obj_radius = 0.032,
                                                .pad_success_thresh = 0.06,
                                                .object_reach_radius = 0.01,
                                                .xz_thresh = 0.01,
                                                .high_density = true}});
        return result;
    }
};

}  // namespace

SawyerTask handle_pull_side_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_handle_press_sideways.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.35, 0.65, 0.0},
                    .random_high = {-0.25, 0.75, 0.0},
                    .goal_low = {-0.5, 0.40, 0.05},
                    .goal_high = {0.5, 1.0, 0.5}};
    const Handle::Parts parts{
        .handle = "handleCenter", .goal = "goalPull", .start = -0.1, .has_target_reward = true};
    return {spec, false, make_sawyer_from<HandlePullSide>(parts)};
}

}  // namespace ibrl::metaworld
