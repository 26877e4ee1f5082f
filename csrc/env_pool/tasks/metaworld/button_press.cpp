// Press a button from the front. Source: metaworld 3.1.1, SawyerButtonPressEnvV3.
#include "env_pool/tasks/metaworld/press.h"
#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

class ButtonPress final : public FrontButton {
  public:
    ButtonPress(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : FrontButton(std::move(base), spec, settled,
                      {.axis = 1,
                       .success_within = 0.02,
                       .near_within = 0.05,
                       .press_within = 0.05,
                       .near_weight = 2.0}) {}
};

}  // namespace

SawyerTask button_press_task() {
    const SawyerSpec spec =
        box_button_spec("sawyer_xyz/sawyer_button_press.xml", {-0.1, 0.85, 0.115}, {0.1, 0.9, 0.115});
    return {spec, true, make_sawyer<ButtonPress>};
}

}  // namespace ibrl::metaworld
