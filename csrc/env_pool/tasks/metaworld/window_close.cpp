// Slide a window shut. Source: metaworld 3.1.1, SawyerWindowCloseEnvV3.
#include "env_pool/tasks/metaworld/window.h"

namespace ibrl::metaworld {
namespace {

class WindowClose final : public Window {
  public:
    WindowClose(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Window(std::move(base), spec, settled,
                 {.handle = "handleCloseStart",
                  .start = 0.2,
                  .goal = 0.0,
                  .reach_tolerance = gaussian_tolerance}) {}

  protected:
    const Vec3& way_start() const override { return handle_init_pos_; }

    void list_attributes(std::vector<Attribute>* list) override {
        Window::list_attributes(list);
        list->push_back({"liftThresh", &lift_threshold_, 1, true});
    }

  private:
    double lift_threshold_ = 0.02;
};

}  // namespace

SawyerTask window_close_task() {
    return {Window::make_spec({0.0, 0.75, 0.2}, {0.0, 0.9, 0.2}), false, make_sawyer<WindowClose>};
}

}  // namespace ibrl::metaworld
