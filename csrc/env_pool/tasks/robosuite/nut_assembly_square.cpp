// Put a square nut on its peg. Source: robosuite 1.5.2, environments/manipulation/nut_assembly.py
// (NutAssemblySquare: two nuts, the round one thrown out of the scene).
#include <algorithm>
#include <cmath>
#include <limits>

#include "env_pool/tasks/robosuite/suite.h"

namespace ibrl::robosuite {
namespace {

constexpr int kNuts = 2;                        // the square one, then the round one
constexpr double kTable[3] = {0.0, 0.0, 0.82};  // m
constexpr Region kRegion = {kTable[0] - 0.115, kTable[0] - 0.11, kTable[1] + 0.11, kTable[1] + 0.225, false};
constexpr Region kRoundRegion = {kTable[0] - 0.115, kTable[0] - 0.11, kTable[1] - 0.225, kTable[1] - 0.11,
                                 false};
constexpr double kNutBottom = -0.05;

class NutAssemblySquare final : public PandaEnv {
  public:
    NutAssemblySquare(const ModelView& view, const TaskSpec& spec)
        : PandaEnv(view, spec),
          table_(body("table")),
          nuts_{body("SquareNut_main"), body("RoundNut_main")},
          pegs_{body("peg1"), body("peg2")},
          handles_{find_id(model(), mjOBJ_SITE, "SquareNut_handle_site"),
                   find_id(model(), mjOBJ_SITE, "RoundNut_handle_site")} {}

  protected:
    Placement draw_placement(Pcg64* rng) const override {
        const Placement nut = draw_placements(kRegion, {0.0}, rng)[0];
        draw_placements(kRoundRegion, {0.0}, rng);
        return nut;
    }
    double object_height() const override { return 0.02 + kTable[2] - kNutBottom; }
    bool is_solved() const override { return is_placed(0) || is_placed(1); }

    double shaped_reward(bool is_solved) const override {
        std::vector<int> active, active_bodies;
        for (int i = 0; i < kNuts; ++i) {
            if (is_placed(i)) continue;
            active.push_back(i);
            active_bodies.push_back(nuts_[i]);
        }
        const double placed = is_solved ? 1.0 : 0.0;

        // Stages of what is not yet placed: reach, grasp, lift, carry above its peg.
        double nearest = std::numeric_limits<double>::infinity(), least_rise = nearest;
        for (const int i : active) {
            nearest = std::min(nearest, distance_to_hand(site_position(handles_[i])));
            const double target = body_position(table_)[2] + 0.2;
            least_rise = std::min(least_rise, std::max(target - body_position(nuts_[i])[2], 0.0));
        }
        const double reach = (1.0 - std::tanh(10.0 * nearest)) * 0.1;
        const double grasp = holds_any(active_bodies) ? 0.35 : 0.0;
        const double lift = grasp > 0.0 ? 0.35 + (1.0 - std::tanh(15.0 * least_rise)) * (0.5 - 0.35) : 0.0;
        double hover = 0.0;
        for (const int i : active) {
            const double x = body_position(pegs_[i])[0] - body_position(nuts_[i])[0];
            const double y = body_position(pegs_[i])[1] - body_position(nuts_[i])[1];
            hover = std::max(hover, lift + (1.0 - std::tanh(10.0 * std::sqrt(x * x + y * y))) * (0.7 - 0.5));
        }
        return placed + std::max({reach, grasp, lift, hover});
    }

  private:
    // On its peg, and let go.
    bool is_placed(int nut) const {
        const double* position = body_position(nuts_[nut]);
        const double* peg = body_position(pegs_[nut]);
        return std::abs(position[0] - peg[0]) < 0.03 && std::abs(position[1] - peg[1]) < 0.03 &&
               position[2] < kTable[2] + 0.05 && 1.0 - std::tanh(10.0 * distance_to_hand(position)) < 0.6;
    }

    int table_, nuts_[kNuts], pegs_[kNuts], handles_[kNuts];
};

}  // namespace

PandaTask nut_assembly_square_task() {
    return {.name = "square",
            .spec = {.object = "SquareNut", .relates_object = true, .hidden = {"RoundNut"}},
            .make = make_panda<NutAssemblySquare>};
}

}  // namespace ibrl::robosuite
