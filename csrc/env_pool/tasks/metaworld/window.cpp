// A sliding window in a frame that a draw moves.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

class Window : public SawyerEnv {
  public:
    static SawyerSpec make_spec(const Vec3& frame_low, const Vec3& frame_high) {
        return {.model_path = "sawyer_xyz/sawyer_window_horizontal.xml",
                .hand_init = kNearHandInitSingle,
                .random_low = {frame_low.begin(), frame_low.end()},
                .random_high = {frame_high.begin(), frame_high.end()},
                .goal_low = kHandLow,
                .goal_high = kHandHigh};
    }

  protected:
    struct Parts {
        const char* handle;  // the site that is observed
        double start, goal;  // of the slide, m
        // How reaching the handle is rewarded.
        double (*reach_tolerance)(double x, double lower, double upper, double margin);
    };

    Window(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
           const Parts& parts)
        : SawyerEnv(std::move(base), spec, settled),
          parts_(parts),
          window_(body("window")),
          handle_(site(parts.handle)),
          goal_(site("goal")),
          slide_(joint_position("window_slide")) {}

    // Where the handle's way to the goal starts, m.
    virtual const Vec3& way_start() const = 0;

    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[0] + parts_.goal, rv[1], rv[2]};
        set_body_pos(window_, {rv[0], rv[1], rv[2]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        compute_frame(settled_frame_.data());
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);

        // As published, the handle is read before the window has moved, and slid without a forward pass.
        std::copy_n(site_position(handle_), 3, handle_init_pos_.begin());
        handle_init_pos_[0] += parts_.start;
        data_->qpos[slide_] = parts_.start;
    }

    void observe_objects(double* frame) const override { std::copy_n(site_position(handle_), 3, frame + 4); }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* handle = obs + 4;
        const double to_target = std::abs(handle[0] - target_pos_[0]);
        Evaluation result;
        result.success = to_target <= 0.05;
        if (!want_reward) return result;
        const double start = std::abs(way_start()[0] - target_pos_[0]);
        const double in_place = long_tail_tolerance(to_target, 0.0, 0.05, std::abs(start - 0.05));
        const double reach_start = distance3(handle_init_pos_.data(), init_tcp_.data());
        const double reach = parts_.reach_tolerance(distance3(handle, tcp_center().data()), 0.0, 0.02,
                                                    std::abs(reach_start - 0.02));
        result.reward = 10.0 * hamacher_product(reach, in_place).value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxPullDist", &max_pull_distance_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
        list->push_back({"prev_obs", settled_frame_.data(), kFrameDim});
        list->push_back({"target_reward", &target_reward_, 1, true});
        list->push_back({"window_handle_pos_init", handle_init_pos_.data(), 3});
    }

    Vec3 handle_init_pos_{};

  private:
    Parts parts_;
    int window_, handle_, goal_, slide_;
    std::array<double, kFrameDim> settled_frame_{};
    double max_pull_distance_ = 0.2, obj_init_angle_ = 0.3, target_reward_ = 1000 * 0.2 + 1000 * 2;
};

// Slide a window shut. Source: metaworld 3.1.1, SawyerWindowCloseEnvV3.
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

// Slide a window open. Source: metaworld 3.1.1, SawyerWindowOpenEnvV3.
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

SawyerTasks window_tasks() {
    return {
        {.name = "window-close",
         .spec = Window::make_spec({0.0, 0.75, 0.2}, {0.0, 0.9, 0.2}),
         .settles_alike = true,
         .make = make_sawyer<WindowClose>},
        {.name = "window-open",
         .spec = Window::make_spec({-0.1, 0.7, 0.16}, {0.1, 0.9, 0.16}),
         .settles_alike = true,
         .make = make_sawyer<WindowOpen>},
    };
}

}  // namespace ibrl::metaworld
