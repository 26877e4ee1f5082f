// Where objects lie at the start of an episode. Source: robosuite 1.5.2, utils/placement_samplers.py.
#pragma once

#include <vector>

#include "env_pool/pcg64.h"

namespace ibrl::robosuite {

// A rectangle on a surface, m, in the world.
struct Region {
    double x_low, x_high, y_low, y_high;
    bool keeps_margin;  // an object's whole radius lies inside
};

struct Placement {
    double x, y, angle;  // m, rad about the vertical
};

// Draws places for objects of these radii, m, one after the other; none overlaps one before it.
std::vector<Placement> draw_placements(const Region& region, const std::vector<double>& radii, Pcg64* rng);

}  // namespace ibrl::robosuite
