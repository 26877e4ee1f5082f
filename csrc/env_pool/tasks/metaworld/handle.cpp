// A handle that slides up and down in the front of a box, pressed or pulled.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

class Handle : public SawyerEnv {
  public:
    struct Parts {
        const char* handle;              // the site that is observed
        const char* goal;                // the site on the box where it shall go
        double start;                    // of the slide, m
        bool has_target_reward = false;  // whether the published task keeps this attribute
    };

    Handle(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
           const Parts& parts)
        : SawyerEnv(std::move(base), spec, settled),
          handle_start_(site("handleStart")),
          parts_(parts),
          box_(body("box")),
          handle_(site(parts.handle)),
          goal_(site(parts.goal)) {}

  protected:
    bool accepts(const double*) const override { return true; }
    void edit_model(const double* rv) override { set_body_pos(box_, {rv[0], rv[1], rv[2]}); }

    void place(const double* rv) override {
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);
        set_positions(kArmJoints, &parts_.start, 1, kArmJoints, 1);
        std::copy_n(site_position(goal_), 3, target_pos_.begin());
        std::copy_n(site_position(handle_), 3, handle_init_pos_.begin());
        max_distance_ = std::abs(site_position(handle_start_)[2] - target_pos_[2]);
        target_reward_ = 1000 * max_distance_ + 1000 * 2;
    }

    void observe_objects(double* frame) const override { std::copy_n(site_position(handle_), 3, frame + 4); }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxDist", &max_distance_, 1, true});
        if (parts_.has_target_reward) list->push_back({"target_reward", &target_reward_, 1, true});
    }

    int handle_start_;
    Vec3 handle_init_pos_{};
    double max_distance_ = 0.0;

  private:
    Parts parts_;
    int box_, handle_, goal_;
    double target_reward_ = 0.0;
};

// Pressed down by a hand that need not hold it.
class HandlePress final : public Handle {
  public:
    using Handle::Handle;

  protected:
    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        constexpr double kRadius = 0.02;  // of the goal and of the handle, m
        const double* handle = obs + 4;
        const double to_target = std::abs(handle[2] - target_pos_[2]);
        Evaluation result;
        result.success = to_target <= kRadius;
        if (!want_reward) return result;
        if (result.success) {
            result.reward = 10.0;
            return result;
        }
        const double start = std::abs(handle_init_pos_[2] - target_pos_[2]);
        const double in_place = long_tail_tolerance(to_target, 0.0, kRadius, std::abs(start - kRadius));
        const double reach_start = distance3(handle_init_pos_.data(), init_tcp_.data());
        const double reach = long_tail_tolerance(distance3(handle, tcp_center().data()), 0.0, kRadius,
                                                 std::abs(reach_start - kRadius));
        result.reward = hamacher_product(reach, in_place).value * 10;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        Handle::list_attributes(list);
        list->push_back({"_handle_init_pos", handle_init_pos_.data(), 3});
    }
};

// Pulled up by a closed gripper; tasks differ in how they measure the way.
class HandlePull : public Handle {
  public:
    using Handle::Handle;

  protected:
    static constexpr double kGoalRadius = 0.05;  // m

    struct Progress {
        double to_target, start_to_target;  // m
        bool is_lifted;
        Caging caging;
    };

    double pull_reward(const double* obs, const float* action, const Progress& progress) const {
        if (progress.to_target < kGoalRadius) return 10.0;
        const double in_place =
            long_tail_tolerance(progress.to_target, 0.0, kGoalRadius, progress.start_to_target);
        const bool is_held = is_at_gripper(obs, obs + 4, 0.035) && progress.is_lifted;
        return carry_reward(caging_reward(action, obs + 4, progress.caging), in_place, is_held).value;
    }
};

// Pull a handle up. Source: metaworld 3.1.1, SawyerHandlePullEnvV3.
class HandlePullFront final : public HandlePull {
  public:
    using HandlePull::HandlePull;

  protected:
    void place(const double* rv) override {
        // The published distance starts at the handle's place inside its own body.
        HandlePull::place(rv);
        max_distance_ = std::abs(model()->site_pos[3 * handle_start_ + 2] - target_pos_[2]);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double to_target = std::abs(target_pos_[2] - obs[6]);
        Evaluation result;
        result.success = to_target <= kGoalRadius;
        if (!want_reward) return result;
        result.reward = pull_reward(obs, action,
                                    {.to_target = to_target,
                                     .start_to_target = std::abs(target_pos_[2] - obj_init_pos_[2]),
                                     .is_lifted = obs[5] - 0.01 > obj_init_pos_[2],  // as published: y over z
                                     .caging = {.obj_radius = 0.022,
                                                .pad_success_thresh = 0.05,
                                                .object_reach_radius = 0.01,
                                                .xz_thresh = 0.01,
                                                .high_density = true}});
        return result;
    }
};

// Pull a handle up, its box on the left. Source: metaworld 3.1.1, SawyerHandlePullSideEnvV3.
class HandlePullSide final : public HandlePull {
  public:
    using HandlePull::HandlePull;

  protected:
    void place(const double* rv) override {
        HandlePull::place(rv);
        obj_init_pos_ = handle_init_pos_;
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double to_target = distance3(obs + 4, target_pos_.data());
        Evaluation result;
        result.success = to_target <= 0.08;
        if (!want_reward) return result;
        result.reward = pull_reward(obs, action,
                                    {.to_target = to_target,
                                     .start_to_target = distance3(obj_init_pos_.data(), target_pos_.data()),
                                     .is_lifted = obs[6] - 0.01 > obj_init_pos_[2],
                                     .caging = {.obj_radius = 0.032,
                                                .pad_success_thresh = 0.06,
                                                .object_reach_radius = 0.01,
                                                .xz_thresh = 0.01,
                                                .high_density = true}});
        return result;
    }
};

}  // namespace

SawyerTasks handle_tasks() {
    return {
        // Press a handle down. Source: metaworld 3.1.1, SawyerHandlePressEnvV3.
        {.name = "handle-press",
         .spec = {.model_path = "sawyer_xyz/sawyer_handle_press.xml",
                  .random_low = {-0.1, 0.8, -0.001},
                  .random_high = {0.1, 0.9, 0.001},
                  .goal_low = {-0.1, 0.55, 0.04},
                  .goal_high = {0.1, 0.70, 0.08}},
         .settles_alike = false,
         .make = make_sawyer_from<HandlePress>(Handle::Parts{
             .handle = "handleStart", .goal = "goalPress", .start = -0.001, .has_target_reward = true})},
        // Press a handle down, its box on the left. Source: metaworld 3.1.1, SawyerHandlePressSideEnvV3.
        {.name = "handle-press-side",
         .spec = {.model_path = "sawyer_xyz/sawyer_handle_press_sideways.xml",
                  .random_low = {-0.35, 0.65, -0.001},
                  .random_high = {-0.25, 0.75, 0.001},
                  .goal_low = kHandLow,
                  .goal_high = kHandHigh},
         .settles_alike = false,
         .make = make_sawyer_from<HandlePress>(
             Handle::Parts{.handle = "handleStart", .goal = "goalPress", .start = -0.001})},
        {.name = "handle-pull",
         .spec = {.model_path = "sawyer_xyz/sawyer_handle_press.xml",
                  .random_low = {-0.1, 0.8, -0.001},
                  .random_high = {0.1, 0.9, 0.001},
                  .goal_low = {-0.1, 0.55, 0.04},
                  .goal_high = {0.1, 0.70, 0.18}},
         .settles_alike = false,
         .make = make_sawyer_from<HandlePullFront>(
             Handle::Parts{.handle = "handleRight", .goal = "goalPull", .start = -0.1})},
        {.name = "handle-pull-side",
         .spec = {.model_path = "sawyer_xyz/sawyer_handle_press_sideways.xml",
                  .random_low = {-0.35, 0.65, 0.0},
                  .random_high = {-0.25, 0.75, 0.0},
                  .goal_low = kHandLow,
                  .goal_high = kHandHigh},
         .settles_alike = false,
         .make = make_sawyer_from<HandlePullSide>(Handle::Parts{
             .handle = "handleCenter", .goal = "goalPull", .start = -0.1, .has_target_reward = true})},
    };
}

}  // namespace ibrl::metaworld
