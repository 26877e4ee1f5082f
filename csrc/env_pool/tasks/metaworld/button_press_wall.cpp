// Press a button from the front, behind a wall. Source: metaworld 3.1.1, SawyerButtonPressWallEnvV3.
#include "env_pool/tasks/metaworld/press.h"

namespace ibrl::metaworld {
namespace {

class ButtonPressWall final : public FrontButton {
  public:
    ButtonPressWall(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : FrontButton(std::move(base), spec, settled,
                      {.axis = 1,
                       .success_within = 0.03,
                       .near_within = 0.01,
                       .press_within = 0.07,
                       .near_weight = 2.0}) {}

  protected:
    void place(const double* rv) override {
        FrontButton::place(rv);
        max_distance_ = start_to_target(2);
    }

    // The way past the wall with a closed gripper; at the button an open one, and the button pressed.
    double reward(double opening, double distance, double near, double pressed) const override {
        if (distance > button_.press_within) {
            return button_.near_weight * hamacher_product((1.0 - opening) / 2.0, near).value;
        }
        return 2.0 + 2.0 * (1.0 + opening) + 4.0 * (pressed * pressed);
    }
};

}  // namespace

SawyerTask button_press_wall_task() {
    const SawyerSpec spec = box_button_spec("sawyer_xyz/sawyer_button_press_wall.xml", {-0.05, 0.85, 0.1149},
                                            {0.05, 0.9, 0.1151});
    return {spec, true, make_sawyer<ButtonPressWall>};
}

}  // namespace ibrl::metaworld
