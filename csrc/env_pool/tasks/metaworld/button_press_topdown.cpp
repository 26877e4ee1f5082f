// Press a button from above. Source: metaworld 3.1.1, SawyerButtonPressTopdownEnvV3.
#include "env_pool/tasks/metaworld/press.h"

namespace ibrl::metaworld {
namespace {

class ButtonPressTopdown final : public TopButton {
  public:
    using TopButton::TopButton;

  protected:
    // Here the gripper is to be closed.
    double reward(double opening, double distance, double near, double pressed) const override {
        return TopButton::reward(1.0 - opening, distance, near, pressed);
    }
};

}  // namespace

SawyerTask button_press_topdown_task() {
    const SawyerSpec spec =
        box_button_spec("sawyer_xyz/sawyer_button_press_topdown.xml", {-0.1, 0.8, 0.115}, {0.1, 0.9, 0.115});
    return {spec, true, make_sawyer<ButtonPressTopdown>};
}

}  // namespace ibrl::metaworld
