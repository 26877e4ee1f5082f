// The numbers in which the tasks of the Sawyer arm differ, and those that all share.
#pragma once

#include <array>
#include <string>
#include <vector>

namespace ibrl::metaworld {

constexpr int kFrameDim = 18;        // hand 3 (m), gripper opening, object 3 + 4, second object 3 + 4
constexpr int kObservationDim = 39;  // current frame, previous frame, goal 3 (m)
constexpr int kActionDim = 4;        // hand displacement 3 (units of 0.01 m), gripper effort
constexpr int kFrameSkip = 5;
constexpr int kSettlingSteps = 50;
constexpr int kArmJoints = 9;  // where the arm comes first in a model, the scene's joints start here

using Vec3 = std::array<double, 3>;

// Room and start of most tasks' hands, m. Some starts are published as float32.
constexpr Vec3 kHandLow = {-0.5, 0.40, 0.05}, kHandHigh = {0.5, 1.0, 0.5};
constexpr Vec3 kDeepHandLow = {-0.5, 0.40, -0.15};
constexpr Vec3 kHandInit = {0.0, 0.6, 0.2}, kHandInitSingle = {0.0, 0.6f, 0.2f};
constexpr Vec3 kNearHandInit = {0.0, 0.4, 0.2}, kNearHandInitSingle = {0.0, 0.4f, 0.2f};

// The numbers in which tasks differ, metres; the defaults are those of most.
struct SawyerSpec {
    std::string model_path;  // inside the suite's assets
    Vec3 hand_low = kHandLow, hand_high = kHandHigh;
    Vec3 hand_init = kHandInit;
    std::vector<double> random_low, random_high;  // the random vector of a reset: usually start 3, goal 3
    Vec3 goal_low, goal_high;
};

// A task attribute that belongs to the state: name as published, value(s) in place.
struct Attribute {
    std::string name;
    double* values;
    int size;
    bool is_scalar = false;
};

}  // namespace ibrl::metaworld
