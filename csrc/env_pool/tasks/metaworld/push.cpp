// A puck, or a block, is pushed over the table.
#include "env_pool/tasks/metaworld/puck.h"

namespace ibrl::metaworld {
namespace {

// Push a puck to a place on the table. Source: metaworld 3.1.1, SawyerPushEnvV3.
class Push final : public PuckEnv {
  public:
    using PuckEnv::PuckEnv;

  protected:
    Scalar shape_reward(const double* obs, const float* action, double in_place) const override {
        const Scalar reward = 2.0 * caging_reward(action, obs + 4, puck_caging(true));
        return is_at_gripper(obs, obs + 4, 0.02) ? reward + (1.0 + reward + 5.0 * in_place) : reward;
    }
};

// Draw a block back towards the robot. Source: metaworld 3.1.1, SawyerPushBackEnvV3.
class PushBack final : public PuckEnv {
  public:
    using PuckEnv::PuckEnv;

  protected:
    Scalar shape_reward(const double* obs, const float*, double in_place) const override {
        const double *block = obs + 4, *target = target_pos_.data();
        const double pinched = pinch_reward(block, 0.007, 0.003, 0.01);
        const double progress = distance3(obj_init_pos_.data(), target) - distance3(block, target);
        const bool is_drawn = is_at_gripper(obs, block, 0.01) && obs[3] < 0.55 && progress > 0.01;
        return carry_reward(pinched, in_place, is_drawn);
    }
};

// Push a puck around a wall. Source: metaworld 3.1.1, SawyerPushWallEnvV3.
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

SawyerTasks push_tasks() {
    return {
        {.name = "push",
         .spec = {.model_path = "sawyer_xyz/sawyer_push_v3.xml",
                  .random_low = {-0.1, 0.6, 0.02, -0.1, 0.8, 0.01},
                  .random_high = {0.1, 0.7, 0.02, 0.1, 0.9, 0.02},
                  .goal_low = {-0.1, 0.8, 0.01},
                  .goal_high = {0.1, 0.9, 0.02}},
         .settles_alike = true,
         .make = make_sawyer_from<Push>(PuckTraits{.starts_at_rest_height = true, .success_radius = 0.05})},
        {.name = "push-back",
         .spec = {.model_path = "sawyer_xyz/sawyer_push_back_v3.xml",
                  .hand_init = kHandInitSingle,
                  .random_low = {-0.1, 0.8, 0.02, -0.1, 0.6, 0.0199},
                  .random_high = {0.1, 0.85, 0.02, 0.1, 0.7, 0.0201},
                  .goal_low = {-0.1, 0.6, 0.0199},
                  .goal_high = {0.1, 0.7, 0.0201}},
         .settles_alike = true,
         .make = make_sawyer_from<PushBack>(
             PuckTraits{.starts_at_rest_height = true, .notes_lift_threshold = true, .notes_reach = true})},
        {.name = "push-wall",
         .spec = {.model_path = "sawyer_xyz/sawyer_push_wall_v3.xml",
                  .random_low = {-0.05, 0.6, 0.015, -0.05, 0.85, 0.01},
                  .random_high = {0.05, 0.65, 0.015, 0.05, 0.9, 0.02},
                  .goal_low = {-0.05, 0.85, 0.01},
                  .goal_high = {0.05, 0.9, 0.02}},
         .settles_alike = true,
         .make = make_sawyer_from<PushWall>(
             PuckTraits{.starts_at_rest_height = true, .notes_lift_threshold = true, .notes_reach = true})},
    };
}

}  // namespace ibrl::metaworld
