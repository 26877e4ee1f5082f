// Dunk a ball. Source: metaworld 3.1.1, SawyerBasketballEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/lift_marks.h"
#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

constexpr double kBallHeight = 0.03f;  // published as float32, m
constexpr double kGoalRadius = 0.08;   // m
constexpr double kGoalHighY = 0.9 + 1e-7;

class Basketball final : public SawyerEnv {
  public:
    Basketball(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          ball_(body("bsktball")),
          ball_geom_(find_id(model(), mjOBJ_GEOM, "objGeom")),
          basket_(body("basket_goal")),
          goal_(site("goal")) {}

  protected:
    bool accepts(const double* rv) const override { return start_to_goal(rv) >= 0.15; }

    void edit_model(const double* rv) override { set_body_pos(basket_, {rv[3], rv[4], rv[5]}); }

    void place(const double* rv) override {
        compute_frame(settled_frame_.data());
        obj_init_pos_ = {rv[0], rv[1], kBallHeight};
        edit_model(rv);
        put_object();
        const double* goal = goal_position();
        set_site_pos(goal_, {goal[0], goal[1], goal[2]});  // the hoop keeps the site: what is set goes unused
        lift_.note(data_->geom_xpos[3 * ball_geom_ + 2], obj_init_pos_, goal);
    }

    // The hoop, wherever it hangs.
    const double* goal_position() const override { return site_position(goal_); }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(ball_), 3, frame + 4);
        std::copy_n(data_->xquat + 4 * ball_, 4, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        // A place above the hoop; errors in height count twice.
        const double *ball = obs + 4, *goal = goal_position();
        const double above[3] = {goal[0], goal[1], 0.3};
        const double scale[3] = {1.0, 1.0, 2.0};
        const double to_target = scaled_distance3(ball, above, scale);
        Evaluation result;
        result.success = to_target <= kGoalRadius;
        if (!want_reward) return result;
        if (to_target < kGoalRadius) {
            result.reward = 10.0;
            return result;
        }

        const double margin = scaled_distance3(obj_init_pos_.data(), above, scale);
        const double in_place = long_tail_tolerance(to_target, 0.0, kGoalRadius, margin);
        const bool is_held = is_at_gripper(obs, ball, 0.035) && ball[2] - 0.01 > obj_init_pos_[2];
        const Scalar grasped = is_held ? Scalar(1.0)
                                       : caging_reward(action, ball,
                                                       {.obj_radius = 0.025,
                                                        .pad_success_thresh = 0.06,
                                                        .object_reach_radius = 0.01,
                                                        .xz_thresh = 0.005,
                                                        .high_density = true});
        result.reward = carry_reward(grasped, in_place, is_held).value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        lift_.list_all(list);
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
        list->push_back({"pickCompleted", &pick_completed_, 1, true});
        list->push_back({"prev_obs", settled_frame_.data(), kFrameDim});
    }

  private:
    int ball_, ball_geom_, basket_, goal_;
    std::array<double, kFrameDim> settled_frame_{};  // before the ball was placed
    LiftMarks lift_{.threshold = 0.3};
    double obj_init_angle_ = 0.3, pick_completed_ = 0.0;
};

}  // namespace

SawyerTasks basketball_tasks() {
    return {
        {.name = "basketball",
         .spec = {.model_path = "sawyer_xyz/sawyer_basketball.xml",
                  .hand_init = kHandInitSingle,
                  .random_low = {-0.1, 0.6, 0.0299, -0.1, 0.85, 0.0},
                  .random_high = {0.1, 0.7, 0.0301, 0.1, kGoalHighY, 0.0},
                  .goal_low = {-0.1, 0.85 - 0.083, 0.2499},
                  .goal_high = {0.1, kGoalHighY - 0.083, 0.2501}},
         .settles_alike = true,
         .make = make_sawyer<Basketball>},
    };
}

}  // namespace ibrl::metaworld
