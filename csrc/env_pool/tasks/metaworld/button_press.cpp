// Press a button from the front. Source: metaworld 3.1.1, SawyerButtonPressEnvV3.
#include "env_pool/tasks/metaworld/press.h"

namespace ibrl::metaworld {

SawyerTask button_press_task() {
    const SawyerSpec spec =
        box_button_spec("sawyer_xyz/sawyer_button_press.xml", {-0.1, 0.85, 0.115}, {0.1, 0.9, 0.115});
    return {spec, true, make_sawyer_from<FrontButton>(kFrontPress)};
}

}  // namespace ibrl::metaworld
