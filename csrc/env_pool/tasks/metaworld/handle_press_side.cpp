// Press a handle down, its box on the left. Source: metaworld 3.1.1, SawyerHandlePressSideEnvV3.
#include "env_pool/tasks/metaworld/handle.h"

namespace ibrl::metaworld {

SawyerTask handle_press_side_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_handle_press_sideways.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.35, 0.65, -0.001},
                    .random_high = {-0.25, 0.75, 0.001},
                    .goal_low = {-0.5, 0.40, 0.05},
                    .goal_high = {0.5, 1.0, 0.5}};
    const Handle::Parts parts{.handle = "handleStart", .goal = "goalPress", .start = -0.001};
    return {spec, false, make_sawyer_from<HandlePress>(parts)};
}

}  // namespace ibrl::metaworld
