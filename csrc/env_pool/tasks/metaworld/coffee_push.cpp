// Push a mug under a coffee machine. Source: metaworld 3.1.1, SawyerCoffeePushEnvV3.
#include "env_pool/tasks/metaworld/coffee_mug.h"

namespace ibrl::metaworld {

SawyerTask coffee_push_task() {
    const SawyerSpec spec = coffee_mug_spec(kMugFrontLow, kMugFrontHigh, kMugSpoutLow, kMugSpoutHigh);
    const CoffeeMug::Parts parts{.spout = 3, .distance_name = "maxPushDist"};
    return {spec, true, make_sawyer_from<CoffeeMug>(parts)};
}

}  // namespace ibrl::metaworld
