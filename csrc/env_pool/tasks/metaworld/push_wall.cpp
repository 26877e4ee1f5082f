// Push a puck around a wall. Source: metaworld 3.1.1, SawyerPushWallEnvV3.
#include "env_pool/tasks/metaworld/puck_env.h"

namespace ibrl::metaworld {
namespace {

class PushWall final : public PuckEnv {
  public:
    using PuckEnv::PuckEnv;

  protected:
    Scalar shape_reward(const double* obs, const float* action, double in_place) const override {
        const double* puck = obs + 4;
        const Scalar reward = 2.0 * caging_reward(action, puck, puck_caging(true));
        if (!is_at_gripper(obs, puck, 0.02)) return reward;

        // Beside the wall; errors in x count three times.
        const double midpoint[3] = {-0.05, 0.77, puck[2]};
        return pass_wall(reward, puck, approach(puck, midpoint, {3.0, 1.0, 1.0}), in_place);
    }
};

}  // namespace

SawyerTask push_wall_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_push_wall_v3.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.05, 0.6, 0.015, -0.05, 0.85, 0.01},
                    .random_high = {0.05, 0.65, 0.015, 0.05, 0.9, 0.02},
                    .goal_low = {-0.05, 0.85, 0.01},
                    .goal_high = {0.05, 0.9, 0.02}};
    const PuckTraits traits{.starts_at_rest_height = true, .notes_lift_threshold = true, .notes_reach = true};
    return {spec, true, make_sawyer_from<PushWall>(traits)};
}

}  // namespace ibrl::metaworld
