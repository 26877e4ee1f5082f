// Push a puck to a place on the table. Source: metaworld 3.1.1, SawyerPushEnvV3.
#include "env_pool/tasks/metaworld/puck_env.h"

namespace ibrl::metaworld {
namespace {

class Push final : public PuckEnv {
  public:
    using PuckEnv::PuckEnv;

  protected:
    Scalar shape_reward(const double* obs, const float* action, double in_place) const override {
        const Scalar reward = 2.0 * caging_reward(action, obs + 4, puck_caging(true));
        return is_at_gripper(obs, obs + 4, 0.02) ? reward + (1.0 + reward + 5.0 * in_place) : reward;
    }
};

}  // namespace

SawyerTask push_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_push_v3.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.1, 0.6, 0.02, -0.1, 0.8, 0.01},
                    .random_high = {0.1, 0.7, 0.02, 0.1, 0.9, 0.02},
                    .goal_low = {-0.1, 0.8, 0.01},
                    .goal_high = {0.1, 0.9, 0.02}};
    return {spec, true,
            make_sawyer_from<Push>(PuckTraits{.starts_at_rest_height = true, .success_radius = 0.05})};
}

}  // namespace ibrl::metaworld
