// Press a button from above, behind a wall. Source: metaworld 3.1.1, SawyerButtonPressTopdownWallEnvV3.
#include "env_pool/tasks/metaworld/press.h"

namespace ibrl::metaworld {

SawyerTask button_press_topdown_wall_task() {
    const SawyerSpec spec = box_button_spec("sawyer_xyz/sawyer_button_press_topdown_wall.xml",
                                            {-0.1, 0.8, 0.115}, {0.1, 0.9, 0.115});
    return {spec, true, make_sawyer<TopButton>};
}

}  // namespace ibrl::metaworld
