// Move the hand to a place in the air, with or without a wall before it. Source: metaworld 3.1.1,
// SawyerReachEnvV3 and SawyerReachWallEnvV3.
#include "env_pool/tasks/metaworld/puck.h"

namespace ibrl::metaworld {
namespace {

class Reach final : public PuckEnv {
  public:
    using PuckEnv::PuckEnv;

  protected:
    Evaluation evaluate(const double*, const float*, bool want_reward) const override {
        const double to_target = distance3(tcp_center().data(), target_pos_.data());
        Evaluation result;
        result.success = to_target <= 0.05;
        if (want_reward) {
            const double margin = distance3(spec_.hand_init.data(), target_pos_.data());
            result.reward = 10.0 * long_tail_tolerance(to_target, 0.0, 0.05, margin);
        }
        return result;
    }

    // The puck lies there and counts for nothing.
    Scalar shape_reward(const double*, const float*, double) const override { return 0.0; }
};

}  // namespace

SawyerTasks reach_tasks() {
    return {
        {.name = "reach",
         .spec = raised_goal_spec("sawyer_xyz/sawyer_reach_v3.xml"),
         .settles_alike = true,
         .make = make_sawyer_from<Reach>(
             PuckTraits{.notes_lift = false, .notes_push = false, .notes_reach = true})},
        {.name = "reach-wall",
         .spec = raised_goal_behind_wall_spec("sawyer_xyz/sawyer_reach_wall_v3.xml"),
         .settles_alike = true,
         .make = make_sawyer_from<Reach>(PuckTraits{.notes_lift_threshold = true, .notes_reach = true})},
    };
}

}  // namespace ibrl::metaworld
