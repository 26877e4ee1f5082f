// Draw a block back towards the robot. Source: metaworld 3.1.1, SawyerPushBackEnvV3.
#include "env_pool/tasks/metaworld/puck_env.h"

namespace ibrl::metaworld {
namespace {

class PushBack final : public PuckEnv {
  public:
    using PuckEnv::PuckEnv;

  protected:
    Scalar shape_reward(const double* obs, const float*, double in_place) const override {
        const double *block = obs + 4, *target = target_pos_.data();
        const Scalar reward = hamacher_product(pinch_reward(block, 0.007, 0.003, 0.01), in_place);
        const double progress = distance3(obj_init_pos_.data(), target) - distance3(block, target);
        const bool is_drawn = is_at_gripper(obs, block, 0.01) && obs[3] < 0.55 && progress > 0.01;
        return is_drawn ? reward + (1.0 + 5.0 * in_place) : reward;
    }
};

}  // namespace

SawyerTask push_back_task() {
    const double hand_height = 0.2f, hand_y = 0.6f;  // published as float32
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_push_back_v3.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, hand_y, hand_height},
                    .random_low = {-0.1, 0.8, 0.02, -0.1, 0.6, 0.0199},
                    .random_high = {0.1, 0.85, 0.02, 0.1, 0.7, 0.0201},
                    .goal_low = {-0.1, 0.6, 0.0199},
                    .goal_high = {0.1, 0.7, 0.0201}};
    const PuckTraits traits{.starts_at_rest_height = true, .notes_lift_threshold = true, .notes_reach = true};
    return {spec, true, make_sawyer_from<PushBack>(traits)};
}

}  // namespace ibrl::metaworld
