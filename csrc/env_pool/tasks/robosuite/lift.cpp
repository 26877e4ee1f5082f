// Lift a cube off a table. Source: robosuite 1.5.2, environments/manipulation/lift.py.
#include <cmath>

#include "env_pool/tasks/robosuite/suite.h"

namespace ibrl::robosuite {
namespace {

constexpr double kTableHeight = 0.8;  // m
constexpr Region kRegion = {-0.03, 0.03, -0.03, 0.03, false};

class Lift final : public PandaEnv {
  public:
    Lift(const ModelView& view, const TaskSpec& spec)
        : PandaEnv(view, spec),
          cube_(body("cube_main")),
          half_size_(model()->geom_size[3 * find_id(model(), mjOBJ_GEOM, "cube_g0") + 2]) {}

  protected:
    Placement draw_placement(Pcg64* rng) const override { return draw_placements(kRegion, {0.0}, rng)[0]; }
    double object_height() const override { return 0.01 + kTableHeight + half_size_; }
    bool is_solved() const override { return body_position(cube_)[2] > kTableHeight + 0.04; }

    double shaped_reward(bool is_solved) const override {
        if (is_solved) return 1.0;
        const double reach = 1.0 - std::tanh(10.0 * distance_to_hand(body_position(cube_)));
        return (reach + (holds_any({cube_}) ? 0.25 : 0.0)) / 2.25;
    }

  private:
    int cube_;
    double half_size_;
};

}  // namespace

PandaTask lift_task() {
    return {.name = "lift",
            .spec = {.object = "cube", .relates_object = false, .hidden = {}},
            .make = make_panda<Lift>};
}

}  // namespace ibrl::robosuite
