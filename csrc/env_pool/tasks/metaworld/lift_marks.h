// What published resets note about lifting an object: part of the state that today's rewards do not read.
#pragma once

#include <vector>

#include "env_pool/tasks/metaworld/sawyer_env.h"

namespace ibrl::metaworld {

struct LiftMarks {
    double threshold;  // m above the object's height
    double object_height = 0.0, height_target = 0.0, max_placing_distance = 0.0;

    // height: of the object at rest, m.
    void note(double height, const Vec3& start, const double* target) {
        object_height = height;
        height_target = height + threshold;
        const double lifted[3] = {start[0], start[1], height_target};
        max_placing_distance = distance3(lifted, target) + height_target;
    }

    void list_all(std::vector<Attribute>* list) {
        list_targets(list);
        list->push_back({"liftThresh", &threshold, 1, true});
    }

    // Without the threshold, which some tasks do not keep.
    void list_targets(std::vector<Attribute>* list) {
        list->push_back({"heightTarget", &height_target, 1, true});
        list->push_back({"maxPlacingDist", &max_placing_distance, 1, true});
        list->push_back({"objHeight", &object_height, 1, true});
    }
};

}  // namespace ibrl::metaworld
