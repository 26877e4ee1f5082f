#include "env_pool/tasks/metaworld/handle.h"

namespace ibrl::metaworld {

Handle::Handle(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
               const Parts& parts)
    : SawyerEnv(std::move(base), spec, settled),
      handle_start_(site("handleStart")),
      parts_(parts),
      box_(body("box")),
      handle_(site(parts.handle)),
      goal_(site(parts.goal)) {}

void Handle::place(const double* rv) {
    obj_init_pos_ = {rv[0], rv[1], rv[2]};
    edit_model(rv);
    set_positions(kArmJoints, &parts_.start, 1, kArmJoints, 1);
    std::copy_n(site_position(goal_), 3, target_pos_.begin());
    std::copy_n(site_position(handle_), 3, handle_init_pos_.begin());
    max_distance_ = std::abs(site_position(handle_start_)[2] - target_pos_[2]);
    target_reward_ = 1000 * max_distance_ + 1000 * 2;
}

void Handle::observe_objects(double* frame) const {
    std::copy_n(site_position(handle_), 3, frame + 4);
}

void Handle::list_attributes(std::vector<Attribute>* list) {
    list->push_back({"maxDist", &max_distance_, 1, true});
    if (parts_.has_target_reward) list->push_back({"target_reward", &target_reward_, 1, true});
}

Evaluation HandlePress::evaluate(const double* obs, const float*, bool want_reward) const {
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

void HandlePress::list_attributes(std::vector<Attribute>* list) {
    Handle::list_attributes(list);
    list->push_back({"_handle_init_pos", handle_init_pos_.data(), 3});
}

double HandlePull::pull_reward(const double* obs, const float* action, const Progress& progress) const {
    if (progress.to_target < kGoalRadius) return 10.0;
    const Scalar in_place =
        long_tail_tolerance(progress.to_target, 0.0, kGoalRadius, progress.start_to_target);
    Scalar reward = hamacher_product(caging_reward(action, obs + 4, progress.caging), in_place);
    if (distance3(obs + 4, tcp_center().data()) < 0.035 && obs[3] > 0.0 && progress.is_lifted) {
        reward = reward + (Scalar(1.0) + Scalar(5.0) * in_place);
    }
    return reward.value;
}

}  // namespace ibrl::metaworld
