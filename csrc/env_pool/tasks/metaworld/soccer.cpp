// Push a ball into a soccer goal. Source: metaworld 3.1.1, SawyerSoccerEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

constexpr double kGoalRadius = 0.07;  // m

class Soccer final : public SawyerEnv {
  public:
    Soccer(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          ball_(body("soccer_ball")),
          posts_(body("goal_whole")),
          goal_(site("goal")) {}

  protected:
    bool accepts(const double* rv) const override { return start_to_goal(rv) >= 0.15; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[3], rv[4], rv[5]};
        set_body_pos(posts_, target_pos_);
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        obj_init_pos_ = {rv[0], rv[1], 0.03};
        edit_model(rv);
        put_object();
        max_push_distance_ = start_to_goal(rv);
    }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(ball_), 3, frame + 4);
        quaternion_from_matrix(data_->xmat + 9 * ball_, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* ball = obs + 4;
        Evaluation result;
        result.success = distance3(ball, target_pos_.data()) <= kGoalRadius;
        if (!want_reward) return result;
        const double to_target = wide_distance(ball, target_pos_);
        if (to_target < kGoalRadius) {
            result.reward = 10.0;
            return result;
        }

        // The margin is how far the ball has come; beside the posts, past their front, it loses progress.
        double in_place =
            long_tail_tolerance(to_target, 0.0, kGoalRadius, wide_distance(ball, obj_init_pos_));
        const double goal_line = target_pos_[1] - 0.1;
        if (ball[1] > goal_line && std::abs(ball[0] - target_pos_[0]) > 0.10) {
            const double past = in_place - 2.0 * ((ball[1] - goal_line) / (1.0 - goal_line));
            in_place = std::min(std::max(past, 0.0), 1.0);
        }
        result.reward = 3.0 * pinch_reward(ball, 0.013, 0.01, 0.005) + 6.5 * in_place;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxPushDist", &max_push_distance_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    }

  private:
    // Errors in x count three times.
    static double wide_distance(const double* ball, const Vec3& place) {
        return scaled_distance3(ball, place.data(), {3.0, 1.0, 1.0});
    }

    int ball_, posts_, goal_;
    double max_push_distance_ = 0.0, obj_init_angle_ = 0.3;
};

}  // namespace

SawyerTasks soccer_tasks() {
    return {
        {.name = "soccer",
         .spec = {.model_path = "sawyer_xyz/sawyer_soccer.xml",
                  .random_low = {-0.1, 0.6, 0.03, -0.1, 0.8, 0.0},
                  .random_high = {0.1, 0.7, 0.03, 0.1, 0.9, 0.0},
                  .goal_low = {-0.1, 0.8, 0.0},
                  .goal_high = {0.1, 0.9, 0.0}},
         .settles_alike = true,
         .make = make_sawyer<Soccer>},
    };
}

}  // namespace ibrl::metaworld
