// Pull a drawer out. Source: metaworld 3.1.1, SawyerDrawerOpenEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/drawer.h"

namespace ibrl::metaworld {
namespace {

constexpr double kOpening = 0.2;  // m

class DrawerOpen final : public Drawer {
  public:
    DrawerOpen(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Drawer(std::move(base), spec, settled, kOpening, kOpening) {}

  protected:
    void place(const double* rv) override {
        compute_frame(settled_frame_.data());
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);
    }

    void observe_objects(double* frame) const override {
        Drawer::observe_objects(frame);
        std::copy_n(data_->xquat + 4 * link_, 4, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* handle = obs + 4;
        const double error = distance3(handle, target_pos_.data());
        Evaluation result;
        result.success = error <= 0.03;
        if (!want_reward) return result;

        // Opening, and the hand at the handle (errors in x and y count three times).
        const double opening = long_tail_tolerance(error, 0.0, 0.02, kOpening);
        const double reach[3] = {(handle[0] - obs[0]) * 3.0, (handle[1] - obs[1]) * 3.0, handle[2] - obs[2]};
        const double start[3] = {(target_pos_[0] - init_tcp_[0]) * 3.0,
                                 (target_pos_[1] + kOpening - init_tcp_[1]) * 3.0,
                                 target_pos_[2] - init_tcp_[2]};
        const double caging = long_tail_tolerance(norm3(reach), 0.0, 0.01, norm3(start));
        result.reward = (caging + opening) * 5.0;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        Drawer::list_attributes(list);
        list->push_back({"prev_obs", settled_frame_.data(), kFrameDim});
    }

  private:
    std::array<double, kFrameDim> settled_frame_{};
};

}  // namespace

SawyerTask drawer_open_task() {
    return {Drawer::make_spec(), false, make_sawyer<DrawerOpen>};
}

}  // namespace ibrl::metaworld
