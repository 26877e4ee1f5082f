// Put a can into its compartment of a bin. Source: robosuite 1.5.2, environments/manipulation/pick_place.py
// (PickPlaceCan: four objects, three of them thrown out of the scene).
#include <algorithm>
#include <cmath>
#include <limits>

#include "env_pool/tasks/robosuite/suite.h"

namespace ibrl::robosuite {
namespace {

// The objects in the order of their compartments, and in which they are placed; the can is the last. Radii in m.
constexpr int kObjects = 4;
const char* const kNames[kObjects] = {"Milk", "Bread", "Cereal", "Can"};
const std::vector<double> kRadii = {0.025, 0.03, 0.04, 0.025};
constexpr double kCanBottom = -0.06;

// Bins, m: where objects are placed, and where they belong.
constexpr double kBin1[3] = {0.1, -0.25, 0.8}, kBin2[3] = {0.1, 0.28, 0.8};
constexpr double kBinSize[2] = {0.39, 0.49};
constexpr double kHalfX = kBinSize[0] / 2.0 - 0.05, kHalfY = kBinSize[1] / 2.0 - 0.05;
constexpr Region kRegion = {kBin1[0] - kHalfX, kBin1[0] + kHalfX, kBin1[1] - kHalfY, kBin1[1] + kHalfY, true};

class PickPlaceCan final : public PandaEnv {
  public:
    PickPlaceCan(const ModelView& view, const TaskSpec& spec) : PandaEnv(view, spec) {
        for (const char* name : kNames) bodies_.push_back(body(std::string(name) + "_main"));
    }

  protected:
    Placement draw_placement(Pcg64* rng) const override {
        const Placement can = draw_placements(kRegion, kRadii, rng).back();
        // robosuite also draws places for the pictures of the objects, in ranges without extent.
        for (int i = 0; i < 2 * kObjects; ++i) rng->next_double();
        return can;
    }
    double object_height() const override { return kBin1[2] - kCanBottom; }

    bool is_solved() const override {
        for (int i = 0; i < kObjects; ++i) {
            if (is_placed(i)) return true;
        }
        return false;
    }

    double shaped_reward(bool is_solved) const override {
        std::vector<int> active, active_bodies;
        for (int i = 0; i < kObjects; ++i) {
            if (is_placed(i)) continue;
            active.push_back(i);
            active_bodies.push_back(bodies_[i]);
        }
        const double placed = is_solved ? 1.0 : 0.0;

        // Stages of what is not yet placed: reach, grasp, lift, carry above its compartment.
        double nearest = std::numeric_limits<double>::infinity(), least_rise = nearest;
        for (const int id : active_bodies) {
            nearest = std::min(nearest, distance_to_hand(body_position(id)));
            least_rise = std::min(least_rise, std::max(kBin2[2] + 0.25 - body_position(id)[2], 0.0));
        }
        const double reach = (1.0 - std::tanh(10.0 * nearest)) * 0.1;
        const double grasp = holds_any(active_bodies) ? 0.35 : 0.0;
        const double lift = grasp > 0.0 ? 0.35 + (1.0 - std::tanh(15.0 * least_rise)) * (0.5 - 0.35) : 0.0;
        double hover = 0.0;
        for (const int i : active) {
            const double x = body_position(bodies_[i])[0] - (low_x(i) + kBinSize[0] / 4.0);
            const double y = body_position(bodies_[i])[1] - (low_y(i) + kBinSize[1] / 4.0);
            const bool is_above = std::abs(x) < kBinSize[0] / 4.0 && std::abs(y) < kBinSize[1] / 4.0;
            const double near = (1.0 - std::tanh(10.0 * std::sqrt(x * x + y * y))) * (0.7 - 0.5);
            hover = std::max(hover, (is_above ? 0.5 : lift) + near);
        }
        return placed + std::max({reach, grasp, lift, hover});
    }

  private:
    static double low_x(int object) { return kBin2[0] - (object % 2 == 0 ? kBinSize[0] / 2.0 : 0.0); }
    static double low_y(int object) { return kBin2[1] - (object < 2 ? kBinSize[1] / 2.0 : 0.0); }

    // In its compartment, and let go.
    bool is_placed(int object) const {
        const double* position = body_position(bodies_[object]);
        const double x = low_x(object), y = low_y(object);
        return x < position[0] && position[0] < x + kBinSize[0] / 2.0 && y < position[1] &&
               position[1] < y + kBinSize[1] / 2.0 && kBin2[2] < position[2] &&
               position[2] < kBin2[2] + 0.1 && 1.0 - std::tanh(10.0 * distance_to_hand(position)) < 0.6;
    }

    std::vector<int> bodies_;
};

}  // namespace

PandaTask pick_place_can_task() {
    return {.name = "can",
            .spec = {.object = "Can", .relates_object = true, .hidden = {"Milk", "Bread", "Cereal"}},
            .make = make_panda<PickPlaceCan>};
}

}  // namespace ibrl::robosuite
