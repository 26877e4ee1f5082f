#include "env_pool/tasks/metaworld/puck.h"

#include <algorithm>

namespace ibrl::metaworld {
namespace {

constexpr double kGoalRadius = 0.05;  // of goals and midpoints; at the goal it earns the full reward, m

}  // namespace

PuckEnv::PuckEnv(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
                 const PuckTraits& traits)
    : SawyerEnv(std::move(base), spec, settled),
      object_(body("obj")),
      object_geom_(find_id(model(), mjOBJ_GEOM, "objGeom")),
      goal_(site("goal")),
      lift_{traits.lift_threshold},
      traits_(traits) {}

bool PuckEnv::accepts(const double* rv) const {
    return start_to_goal(rv) >= traits_.min_distance;
}

void PuckEnv::edit_model(const double* rv) {
    // The height of rest is only known to place().
    target_pos_ = {rv[3], rv[4], traits_.starts_at_rest_height ? rest_height_ : rv[5]};
    set_site_pos(goal_, target_pos_);
}

void PuckEnv::place(const double* rv) {
    rest_height_ = body_position(object_)[2];
    edit_model(rv);
    put_puck({rv[0], rv[1], traits_.starts_at_rest_height ? rest_height_ : rv[2]});
}

void PuckEnv::put_puck(const Vec3& start) {
    obj_init_pos_ = start;
    set_positions(kArmJoints, start.data(), 3, kArmJoints, 6);
    lift_.note(data_->geom_xpos[3 * object_geom_ + 2], start, target_pos_.data());
    max_push_distance_ = norm2(start[0] - target_pos_[0], start[1] - target_pos_[1]);
    max_reach_distance_ = distance3(init_tcp_.data(), target_pos_.data());
}

void PuckEnv::observe_objects(double* frame) const {
    std::copy_n(body_position(object_), 3, frame + 4);
    quaternion_from_matrix(data_->geom_xmat + 9 * object_geom_, frame + 7);
}

Evaluation PuckEnv::evaluate(const double* obs, const float* action, bool want_reward) const {
    const double to_target = distance3(obs + 4, target_pos_.data());
    Evaluation result;
    result.success = to_target <= traits_.success_radius;
    if (!want_reward) return result;
    if (to_target < kGoalRadius) {
        result.reward = 10.0;
        return result;
    }
    const double margin = distance3(obj_init_pos_.data(), target_pos_.data());
    const double in_place = long_tail_tolerance(to_target, 0.0, traits_.placing_radius, margin);
    result.reward = shape_reward(obs, action, in_place).value;
    return result;
}

double PuckEnv::approach(const double* puck, const double* midpoint, const double (&scale)[3]) const {
    const double margin = scaled_distance3(obj_init_pos_.data(), midpoint, scale);
    return long_tail_tolerance(scaled_distance3(puck, midpoint, scale), 0.0, kGoalRadius, margin);
}

void PuckEnv::list_attributes(std::vector<Attribute>* list) {
    list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    if (traits_.notes_lift) lift_.list_targets(list);
    if (traits_.notes_lift_threshold) list->push_back({"liftThresh", &lift_.threshold, 1, true});
    if (traits_.notes_push) list->push_back({"maxPushDist", &max_push_distance_, 1, true});
    if (traits_.notes_reach) list->push_back({"maxReachDist", &max_reach_distance_, 1, true});
}

SawyerSpec raised_goal_spec(const char* model_path) {
    return {.model_path = model_path,
            .random_low = {-0.1, 0.6, 0.02, -0.1, 0.8, 0.05},
            .random_high = {0.1, 0.7, 0.02, 0.1, 0.9, 0.3},
            .goal_low = {-0.1, 0.8, 0.05},
            .goal_high = {0.1, 0.9, 0.3}};
}

SawyerSpec raised_goal_behind_wall_spec(const char* model_path) {
    SawyerSpec spec = raised_goal_spec(model_path);
    spec.random_low = {-0.05, 0.6, 0.015, -0.05, 0.85, 0.05};
    spec.random_high = {0.05, 0.65, 0.015, 0.05, 0.9, 0.3};
    spec.goal_low = {-0.05, 0.85, 0.05};
    spec.goal_high = {0.05, 0.9, 0.3};
    return spec;
}

}  // namespace ibrl::metaworld
