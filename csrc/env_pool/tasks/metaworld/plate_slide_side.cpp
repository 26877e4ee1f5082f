// Slide a plate to the left into a goal. Source: metaworld 3.1.1, SawyerPlateSlideSideEnvV3.
#include "env_pool/tasks/metaworld/sliding_plate.h"

namespace ibrl::metaworld {

SawyerTask plate_slide_side_task() {
    const SawyerSpec spec = SlidingPlate::make_spec("sawyer_xyz/sawyer_plate_slide_sideway.xml",
                                                    {0.0, 0.6, 0.0}, {-0.3, 0.54, 0.0}, {-0.25, 0.66, 0.0});
    const SlidingPlate::Parts parts{.start = {0.0, 0.0}};
    return {spec, true, make_sawyer_from<SlidingPlate>(parts)};
}

}  // namespace ibrl::metaworld
