#include "env_pool/tasks/metaworld/swept_block.h"

#include <algorithm>

namespace ibrl::metaworld {

SweptBlock::SweptBlock(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
    : SawyerEnv(std::move(base), spec, settled),
      block_(body("obj")),
      block_geom_(find_id(model(), mjOBJ_GEOM, "objGeom")),
      goal_(site("goal")) {}

void SweptBlock::put_block(double x, double y, double z) {
    obj_init_pos_ = {x, y, z};
    set_positions(kArmJoints, obj_init_pos_.data(), 3, kArmJoints, 6);
    max_push_distance_ = norm2(x - target_pos_[0], y - target_pos_[1]);
}

void SweptBlock::observe_objects(double* frame) const {
    std::copy_n(body_position(block_), 3, frame + 4);
}

Evaluation SweptBlock::evaluate(const double* obs, const float*, bool want_reward) const {
    constexpr double kGoalRadius = 0.05;  // m
    const double* block = obs + 4;
    const Vec3 goal = goal_for(block);
    const double to_target = distance3(block, goal.data());
    Evaluation result;
    result.success = to_target <= kGoalRadius;
    if (!want_reward) return result;
    if (to_target < kGoalRadius) {
        result.reward = 10.0;
        return result;
    }
    const double in_place =
        long_tail_tolerance(to_target, 0.0, kGoalRadius, distance3(obj_init_pos_.data(), goal.data()));
    const double grasped = grasp_reward(block);
    result.reward = 2.0 * grasped + 6.0 * hamacher_product(grasped, in_place).value;
    return result;
}

void SweptBlock::list_attributes(std::vector<Attribute>* list) {
    list->push_back({"maxPushDist", &max_push_distance_, 1, true});
    list->push_back({"objHeight", &object_height_, 1, true});
    list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
}

}  // namespace ibrl::metaworld
