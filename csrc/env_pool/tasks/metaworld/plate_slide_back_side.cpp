// Slide a plate to the right out of a goal. Source: metaworld 3.1.1, SawyerPlateSlideBackSideEnvV3.
#include "env_pool/tasks/metaworld/sliding_plate.h"

namespace ibrl::metaworld {

SawyerTask plate_slide_back_side_task() {
    const SawyerSpec spec =
        SlidingPlate::make_spec("sawyer_xyz/sawyer_plate_slide_sideway.xml", {-0.25, 0.6, 0.0},
                                {-0.05, 0.6, 0.015}, {0.15, 0.6, 0.015});
    const SlidingPlate::Parts parts{
        .start = {-0.15, 0.0}, .cage = SlidingPlate::Cage::at_start, .is_measured_at_plate = true};
    return {spec, true, make_sawyer_from<SlidingPlate>(parts)};
}

}  // namespace ibrl::metaworld
