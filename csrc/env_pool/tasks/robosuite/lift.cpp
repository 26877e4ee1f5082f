// Lift a cube off a table. Source: robosuite 1.5.2, environments/manipulation/lift.py.
#include <cmath>

#include "env_pool/tasks/robosuite/cube.h"
#include "env_pool/tasks/robosuite/suite.h"

namespace ibrl::robosuite {
namespace {

constexpr double kTableHeight = 0.8;  // m
constexpr Region kRegion = {-0.03, 0.03, -0.03, 0.03, false};

class Lift final : public PandaEnv {
  public:
    Lift(const ModelView& view, const TaskSpec& spec)
        : PandaEnv(view, spec), cube_(body("cube_main")), sizes_(&model_, &unseen_) {}

  protected:
    const char* model_entry() const override { return "cube_size"; }
    void set_model(const Vector<3>& half_size) override { sizes_.resize(half_size); }
    Vector<3> draw_model(Pcg64* rng) const override {
        Vector<3> half_size;
        for (double& value : half_size) value = rng->uniform(0.020, 0.022);
        return half_size;
    }

    Placement draw_placement(Pcg64* rng) const override { return draw_placements(kRegion, {0.0}, rng)[0]; }
    double object_height() const override {
        const double half_height = model()->geom_size[3 * model()->body_geomadr[cube_] + 2];
        return 0.01 + kTableHeight + half_height;
    }
    bool is_solved() const override { return body_position(cube_)[2] > kTableHeight + 0.04; }

    double shaped_reward(bool is_solved) const override {
        if (is_solved) return 1.0;
        const double reach = 1.0 - std::tanh(10.0 * distance_to_hand(body_position(cube_)));
        return (reach + (holds_any({cube_}) ? 0.25 : 0.0)) / 2.25;
    }

  private:
    int cube_;
    Cube sizes_;
};

}  // namespace

PandaTask lift_task() {
    return {.name = "lift",
            .spec = {.object = "cube", .relates_object = false, .hidden = {}},
            .make = make_panda<Lift>};
}

}  // namespace ibrl::robosuite
