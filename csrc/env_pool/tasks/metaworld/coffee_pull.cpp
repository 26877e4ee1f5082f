// Pull a mug from under a coffee machine. Source: metaworld 3.1.1, SawyerCoffeePullEnvV3.
#include "env_pool/tasks/metaworld/coffee_mug.h"

namespace ibrl::metaworld {

SawyerTask coffee_pull_task() {
    const SawyerSpec spec = coffee_mug_spec(kMugSpoutLow, kMugSpoutHigh, kMugFrontLow, kMugFrontHigh);
    const CoffeeMug::Parts parts{.spout = 0, .distance_name = "maxPullDist"};
    return {spec, true, make_sawyer_from<CoffeeMug>(parts)};
}

}  // namespace ibrl::metaworld
