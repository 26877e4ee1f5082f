#include "env_pool/tasks/robosuite/placement.h"

#include <cmath>
#include <cstddef>
#include <numbers>

namespace ibrl::robosuite {

std::vector<Placement> draw_placements(const Region& region, const std::vector<double>& radii, Pcg64* rng) {
    std::vector<Placement> placed;
    for (const double radius : radii) {
        const double margin = region.keeps_margin ? radius : 0.0;
        Placement place{};
        bool is_free = false;
        while (!is_free) {
            place.x = rng->uniform(region.x_low + margin, region.x_high - margin);
            place.y = rng->uniform(region.y_low + margin, region.y_high - margin);
            is_free = true;
            for (std::size_t i = 0; i < placed.size(); ++i) {
                const double distance = std::hypot(place.x - placed[i].x, place.y - placed[i].y);
                if (distance <= radius + radii[i]) is_free = false;
            }
        }
        place.angle = rng->uniform(0.0, 2.0 * std::numbers::pi);
        placed.push_back(place);
    }
    return placed;
}

}  // namespace ibrl::robosuite
