// Slide a plate ahead into a goal. Source: metaworld 3.1.1, SawyerPlateSlideEnvV3.
#include "env_pool/tasks/metaworld/sliding_plate.h"

namespace ibrl::metaworld {

SawyerTask plate_slide_task() {
    const SawyerSpec spec = SlidingPlate::make_spec("sawyer_xyz/sawyer_plate_slide.xml", {0.0, 0.6, 0.0},
                                                    {-0.1, 0.85, 0.0}, {0.1, 0.9, 0.0});
    const SlidingPlate::Parts parts{
        .start = {0.0, 0.0}, .cage = SlidingPlate::Cage::at_target, .is_held_down = false};
    return {spec, true, make_sawyer_from<SlidingPlate>(parts)};
}

}  // namespace ibrl::metaworld
