#include "env_pool/tasks/metaworld/sliding_plate.h"

#include <algorithm>

namespace ibrl::metaworld {

SlidingPlate::SlidingPlate(std::shared_ptr<const mjModel> base, const SawyerSpec& spec,
                           const Settled* settled, const Parts& parts)
    : SawyerEnv(std::move(base), spec, settled),
      parts_(parts),
      plate_(find_id(model(), mjOBJ_GEOM, "puck")),
      cage_(body("puck_goal")),
      goal_(site("goal")) {}

void SlidingPlate::edit_model(const double* rv) {
    target_pos_ = {rv[3], rv[4], rv[5]};
    if (parts_.cage == Cage::at_target) set_body_pos(cage_, target_pos_);
    if (parts_.cage == Cage::at_start) set_body_pos(cage_, {rv[0], rv[1], rv[2]});
    set_site_pos(goal_, target_pos_);
}

void SlidingPlate::place(const double* rv) {
    // The plate jumps; its speed stays as it was.
    obj_init_pos_ = {rv[0], rv[1], rv[2]};
    edit_model(rv);
    set_positions(kArmJoints, parts_.start.data(), 2, kArmJoints, 0);
    const double* start = parts_.is_measured_at_plate ? data_->geom_xpos + 3 * plate_ : obj_init_pos_.data();
    max_distance_ = norm2(start[0] - target_pos_[0], start[1] - target_pos_[1]);
}

void SlidingPlate::observe_objects(double* frame) const {
    std::copy_n(data_->geom_xpos + 3 * plate_, 3, frame + 4);
    quaternion_from_matrix(data_->geom_xmat + 9 * plate_, frame + 7);
}

Evaluation SlidingPlate::evaluate(const double* obs, const float*, bool want_reward) const {
    constexpr double kRadius = 0.05;  // of the goal and of the plate, m
    const double* plate = obs + 4;
    const double to_target = distance3(plate, target_pos_.data());
    Evaluation result;
    result.success = to_target <= 0.07;
    if (!want_reward) return result;
    if (to_target < kRadius) {
        result.reward = 10.0;
        return result;
    }

    const Vec3 tcp = tcp_center();
    const double reach = distance3(tcp.data(), plate);
    const double slack = parts_.is_held_down ? kRadius : 0.0;
    const double in_place = long_tail_tolerance(to_target, 0.0, kRadius,
                                                distance3(obj_init_pos_.data(), target_pos_.data()) - slack);
    const double reached =
        long_tail_tolerance(reach, 0.0, kRadius, distance3(init_tcp_.data(), obj_init_pos_.data()) - slack);
    if (!parts_.is_held_down) {
        result.reward = 8.0 * hamacher_product(reached, in_place).value;
    } else if (tcp[2] <= 0.03 && reach < 0.07) {
        result.reward = 2.0 + 7.0 * in_place;
    } else {
        result.reward = 1.5 * reached;
    }
    return result;
}

void SlidingPlate::list_attributes(std::vector<Attribute>* list) {
    list->push_back({"maxDist", &max_distance_, 1, true});
    list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
}

SawyerSpec SlidingPlate::make_spec(const char* model_path, const Vec3& start, const Vec3& goal_low,
                                   const Vec3& goal_high) {
    const double hand_height = 0.2f, hand_y = 0.6f;  // published as float32
    return {.model_path = model_path,
            .hand_low = {-0.5, 0.40, 0.05},
            .hand_high = {0.5, 1.0, 0.5},
            .hand_init = {0.0, hand_y, hand_height},
            .random_low = {start[0], start[1], start[2], goal_low[0], goal_low[1], goal_low[2]},
            .random_high = {start[0], start[1], start[2], goal_high[0], goal_high[1], goal_high[2]},
            .goal_low = goal_low,
            .goal_high = goal_high};
}

}  // namespace ibrl::metaworld
