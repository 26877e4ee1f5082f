// Slide a window open. Source: metaworld 3.1.1, SawyerWindowOpenEnvV3.
#include "env_pool/tasks/metaworld/window.h"

namespace ibrl::metaworld {
namespace {

class WindowOpen final : public Window {
  public:
    WindowOpen(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Window(std::move(base), spec, settled,
                 {.handle = "handleOpenStart",
                  .start = 0.0,
                  .goal = 0.2,
                  .reach_tolerance = long_tail_tolerance}) {}

  protected:
    const Vec3& way_start() const override { return obj_init_pos_; }
};

}  // namespace

SawyerTask window_open_task() {
    return {Window::make_spec({-0.1, 0.7, 0.16}, {0.1, 0.9, 0.16}), false, make_sawyer<WindowOpen>};
}

}  // namespace ibrl::metaworld
