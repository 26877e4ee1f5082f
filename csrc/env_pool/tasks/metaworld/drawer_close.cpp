// Push a drawer in. Source: metaworld 3.1.1, SawyerDrawerCloseEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/drawer.h"

namespace ibrl::metaworld {
namespace {

constexpr double kOpening = 0.15;  // m

class DrawerClose final : public Drawer {
  public:
    DrawerClose(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Drawer(std::move(base), spec, settled, kOpening, 0.0) {}

  protected:
    void place(const double* rv) override {
        // The drawer starts pulled out; its speed stays as it was.
        edit_model(rv);
        const double opening = -kOpening;
        set_positions(kArmJoints, &opening, 1, kArmJoints, 0);
        double frame[kFrameDim];
        compute_frame(frame);
        std::copy_n(frame + 4, 3, obj_init_pos_.begin());
    }

    void observe_objects(double* frame) const override {
        Drawer::observe_objects(frame);
        frame[6] += 0.05;
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double* handle = obs + 4;
        const double to_target = distance3(handle, target_pos_.data());
        Evaluation result;
        result.success = to_target <= 0.05 + 0.015;
        if (!want_reward) return result;
        if (result.success) {
            result.reward = 10.0;
            return result;
        }
        const double start = distance3(obj_init_pos_.data(), target_pos_.data());
        const Scalar in_place = long_tail_tolerance(to_target, 0.0, 0.05, std::abs(start - 0.05));
        const double reach_start = distance3(obj_init_pos_.data(), init_tcp_.data());
        const Scalar reach = gaussian_tolerance(distance3(handle, tcp_center().data()), 0.0, 0.005,
                                                std::abs(reach_start - 0.005));
        const Scalar closed = hamacher_product(reach, closing_effort(action));
        result.reward = (hamacher_product(closed, in_place) * Scalar(10.0)).value;
        return result;
    }
};

}  // namespace

SawyerTask drawer_close_task() {
    return {Drawer::make_spec(), false, make_sawyer<DrawerClose>};
}

}  // namespace ibrl::metaworld
