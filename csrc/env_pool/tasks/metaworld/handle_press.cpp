// Press a handle down. Source: metaworld 3.1.1, SawyerHandlePressEnvV3.
#include "env_pool/tasks/metaworld/handle.h"

namespace ibrl::metaworld {

SawyerTask handle_press_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_handle_press.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.1, 0.8, -0.001},
                    .random_high = {0.1, 0.9, 0.001},
                    .goal_low = {-0.1, 0.55, 0.04},
                    .goal_high = {0.1, 0.70, 0.08}};
    const Handle::Parts parts{
        .handle = "handleStart", .goal = "goalPress", .start = -0.001, .has_target_reward = true};
    return {spec, false, make_sawyer_from<HandlePress>(parts)};
}

}  // namespace ibrl::metaworld
