// A drawer in a case that a draw moves.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

constexpr double kHandleOffset = -0.16;  // from the drawer's middle to its handle, along y, m

class Drawer : public SawyerEnv {
  public:
    static SawyerSpec make_spec() {
        return {.model_path = "sawyer_xyz/sawyer_drawer.xml",
                .hand_init = kHandInitSingle,
                .random_low = {-0.1, 0.9, 0.0},
                .random_high = {0.1, 0.9, 0.0},
                .goal_low = kHandLow,
                .goal_high = kHandHigh};
    }

  protected:
    // The way of the drawer, and how far out it is at the goal, m.
    Drawer(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled, double way,
           double goal_opening)
        : SawyerEnv(std::move(base), spec, settled),
          link_(body("drawer_link")),
          drawer_(body("drawer")),
          goal_(site("goal")),
          goal_offset_(kHandleOffset - goal_opening),
          max_distance_(way),
          target_reward_(1000 * way + 1000 * 2) {}

    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[0], rv[1] + goal_offset_, rv[2] + 0.09};
        set_body_pos(drawer_, {rv[0], rv[1], rv[2]});
        set_site_pos(goal_, target_pos_);
    }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(link_), 3, frame + 4);
        frame[5] += kHandleOffset;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxDist", &max_distance_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
        list->push_back({"target_reward", &target_reward_, 1, true});
    }

    const int link_;

  private:
    int drawer_, goal_;
    double goal_offset_, max_distance_, target_reward_, obj_init_angle_ = 0.3;
};

// Push a drawer in. Source: metaworld 3.1.1, SawyerDrawerCloseEnvV3.
class DrawerClose final : public Drawer {
    static constexpr double kOpening = 0.15;  // m

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

// Pull a drawer out. Source: metaworld 3.1.1, SawyerDrawerOpenEnvV3.
class DrawerOpen final : public Drawer {
    static constexpr double kOpening = 0.2;  // m

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
        const double scale[3] = {3.0, 3.0, 1.0};
        const double start[3] = {target_pos_[0], target_pos_[1] + kOpening, target_pos_[2]};
        const double caging = long_tail_tolerance(scaled_distance3(handle, obs, scale), 0.0, 0.01,
                                                  scaled_distance3(start, init_tcp_.data(), scale));
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

SawyerTasks drawer_tasks() {
    return {
        {.name = "drawer-close",
         .spec = Drawer::make_spec(),
         .settles_alike = true,
         .make = make_sawyer<DrawerClose>},
        {.name = "drawer-open",
         .spec = Drawer::make_spec(),
         .settles_alike = true,
         .make = make_sawyer<DrawerOpen>},
    };
}

}  // namespace ibrl::metaworld
