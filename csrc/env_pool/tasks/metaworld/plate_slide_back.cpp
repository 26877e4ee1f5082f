// Slide a plate back out of a goal. Source: metaworld 3.1.1, SawyerPlateSlideBackEnvV3.
#include "env_pool/tasks/metaworld/sliding_plate.h"

namespace ibrl::metaworld {

SawyerTask plate_slide_back_task() {
    const SawyerSpec spec = SlidingPlate::make_spec("sawyer_xyz/sawyer_plate_slide.xml", {0.0, 0.85, 0.0},
                                                    {-0.1, 0.6, 0.015}, {0.1, 0.6, 0.015});
    const SlidingPlate::Parts parts{.start = {0.0, 0.15}, .is_measured_at_plate = true};
    return {spec, true, make_sawyer_from<SlidingPlate>(parts)};
}

}  // namespace ibrl::metaworld
