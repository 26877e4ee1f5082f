// Lift a puck over a wall. Source: metaworld 3.1.1, SawyerPickPlaceWallEnvV3.
#include "env_pool/tasks/metaworld/puck_env.h"

namespace ibrl::metaworld {
namespace {

class PickPlaceWall final : public PuckEnv {
  public:
    using PuckEnv::PuckEnv;

  protected:
    void place(const double* rv) override {
        PuckEnv::place(rv);
        target_rewards_ = {1000.0 * lift_.max_placing_distance + 2000.0,
                           1000.0 * max_reach_distance_ + 2000.0, 1000.0 * max_push_distance_ + 2000.0};
    }

    Scalar shape_reward(const double* obs, const float* action, double in_place) const override {
        // Above the wall, before the goal; errors in height count three times.
        const double* puck = obs + 4;
        const double midpoint[3] = {target_pos_[0], 0.77, 0.25};
        const double at_midpoint = approach(puck, midpoint, {1.0, 1.0, 3.0});

        const Scalar reward = hamacher_product(caging_reward(action, puck, puck_caging(false)), at_midpoint);
        const bool is_held = is_at_gripper(obs, puck, 0.02) && puck[2] - 0.015 > obj_init_pos_[2];
        return is_held ? pass_wall(reward, puck, at_midpoint, in_place) : reward;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        PuckEnv::list_attributes(list);
        list->push_back({"target_rewards", target_rewards_.data(), 3});
    }

  private:
    Vec3 target_rewards_{};
};

}  // namespace

SawyerTask pick_place_wall_task() {
    const SawyerSpec spec = raised_goal_behind_wall_spec("sawyer_xyz/sawyer_pick_place_wall_v3.xml");
    const PuckTraits traits{.notes_lift_threshold = true, .notes_reach = true};
    return {spec, true, make_sawyer_from<PickPlaceWall>(traits)};
}

}  // namespace ibrl::metaworld
