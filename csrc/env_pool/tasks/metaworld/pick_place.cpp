// Lift a puck to a place in the air. Source: metaworld 3.1.1, SawyerPickPlaceEnvV3.
#include "env_pool/tasks/metaworld/puck_env.h"

namespace ibrl::metaworld {
namespace {

class PickPlace final : public PuckEnv {
  public:
    using PuckEnv::PuckEnv;

  protected:
    Scalar shape_reward(const double* obs, const float* action, double in_place) const override {
        const double* puck = obs + 4;
        const Scalar reward = hamacher_product(grasp_reward(action, puck), in_place);
        const bool is_held = is_at_gripper(obs, puck, 0.02) && puck[2] - 0.01 > obj_init_pos_[2];
        return is_held ? reward + (1.0 + 5.0 * in_place) : reward;
    }

  private:
    // This task's own caging: margins follow the pads.
    Scalar grasp_reward(const float* action, const double* puck) const {
        const Scalar caging = hamacher_product(pads_around(puck, 0.015, 0.05), tcp_over(puck, 0.005));
        const Scalar gripping = caging.value > 0.97 ? closing_effort(action) : Scalar(0.0);
        return (hamacher_product(caging, gripping) + caging) / 2.0;
    }
};

}  // namespace

SawyerTask pick_place_task() {
    const SawyerSpec spec = raised_goal_spec("sawyer_xyz/sawyer_pick_place_v3.xml");
    return {spec, true, make_sawyer_from<PickPlace>(PuckTraits{})};
}

}  // namespace ibrl::metaworld
