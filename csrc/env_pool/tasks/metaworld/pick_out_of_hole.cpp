// Lift a puck out of a hole in the table. Source: metaworld 3.1.1, SawyerPickOutOfHoleEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/puck_env.h"

namespace ibrl::metaworld {
namespace {

class PickOutOfHole final : public PuckEnv {
  public:
    using PuckEnv::PuckEnv;

  protected:
    void observe_objects(double* frame) const override {
        std::copy_n(body_position(object_), 3, frame + 4);
        std::copy_n(data_->xquat + 4 * object_, 4, frame + 7);
    }

    Scalar shape_reward(const double* obs, const float* action, double in_place) const override {
        const double* puck = obs + 4;
        const Scalar grasped = caging_reward(action, puck,
                                             {.obj_radius = 0.015,
                                              .pad_success_thresh = 0.02,
                                              .object_reach_radius = 0.01,
                                              .xz_thresh = 0.03,
                                              .desired_gripper_effort = 0.1,
                                              .high_density = true});
        const Scalar reward = hamacher_product(grasped, in_place);

        // A held puck's way leads through a funnel over the hole.
        const Vec3 tcp = tcp_center();
        const bool is_held =
            distance3(puck, tcp.data()) < 0.04 && puck[2] - 0.02 > obj_init_pos_[2] && !(obs[3] < 0.33);
        if (!is_held) return reward;
        const double radius = norm2(tcp[0] - obj_init_pos_[0], tcp[1] - obj_init_pos_[1]);
        const double above = above_funnel(tcp[2], funnel_height(radius, 0.03, 0.015, 0.15), 0.02);
        return reward + (1.0 + 5.0 * hamacher_product(in_place, above).value);
    }
};

}  // namespace

SawyerTask pick_out_of_hole_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_pick_out_of_hole.xml",
                    .hand_low = {-0.5, 0.40, -0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {0.0, 0.75, 0.02, -0.1, 0.5, 0.15},
                    .random_high = {0.0, 0.75, 0.02, 0.1, 0.6, 0.3},
                    .goal_low = {-0.1, 0.5, 0.15},
                    .goal_high = {0.1, 0.6, 0.3}};
    const PuckTraits traits{
        .notes_lift_threshold = true, .notes_push = false, .lift_threshold = 0.11, .placing_radius = 0.02};
    return {spec, true, make_sawyer_from<PickOutOfHole>(traits)};
}

}  // namespace ibrl::metaworld
