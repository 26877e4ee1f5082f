// Move the hand to a place in the air, with or without a wall before it. Source: metaworld 3.1.1,
// SawyerReachEnvV3 and SawyerReachWallEnvV3.
#include "env_pool/tasks/metaworld/puck_env.h"

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

SawyerTask reach_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_reach_v3.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.1, 0.6, 0.02, -0.1, 0.8, 0.05},
                    .random_high = {0.1, 0.7, 0.02, 0.1, 0.9, 0.3},
                    .goal_low = {-0.1, 0.8, 0.05},
                    .goal_high = {0.1, 0.9, 0.3}};
    const PuckTraits traits{.notes_lift = false, .notes_push = false, .notes_reach = true};
    return {spec, true, make_sawyer_from<Reach>(traits)};
}

SawyerTask reach_wall_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_reach_wall_v3.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.05, 0.6, 0.015, -0.05, 0.85, 0.05},
                    .random_high = {0.05, 0.65, 0.015, 0.05, 0.9, 0.3},
                    .goal_low = {-0.05, 0.85, 0.05},
                    .goal_high = {0.05, 0.9, 0.3}};
    return {spec, true,
            make_sawyer_from<Reach>(PuckTraits{.notes_lift_threshold = true, .notes_reach = true})};
}

}  // namespace ibrl::metaworld
