#include "env_pool/tasks/metaworld/window.h"

#include <algorithm>

namespace ibrl::metaworld {

Window::Window(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
               const Parts& parts)
    : SawyerEnv(std::move(base), spec, settled),
      parts_(parts),
      window_(body("window")),
      handle_(site(parts.handle)),
      goal_(site("goal")),
      slide_(joint_position("window_slide")) {}

void Window::edit_model(const double* rv) {
    target_pos_ = {rv[0] + parts_.goal, rv[1], rv[2]};
    set_body_pos(window_, {rv[0], rv[1], rv[2]});
    set_site_pos(goal_, target_pos_);
}

void Window::place(const double* rv) {
    compute_frame(settled_frame_.data());
    obj_init_pos_ = {rv[0], rv[1], rv[2]};
    edit_model(rv);

    // The published code reads the handle before the window has moved, and slides it without a forward pass.
    std::copy_n(site_position(handle_), 3, handle_init_pos_.begin());
    handle_init_pos_[0] += parts_.start;
    data_->qpos[slide_] = parts_.start;
}

void Window::observe_objects(double* frame) const {
    std::copy_n(site_position(handle_), 3, frame + 4);
}

Evaluation Window::evaluate(const double* obs, const float*, bool want_reward) const {
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

void Window::list_attributes(std::vector<Attribute>* list) {
    list->push_back({"maxPullDist", &max_pull_distance_, 1, true});
    list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    list->push_back({"prev_obs", settled_frame_.data(), kFrameDim});
    list->push_back({"target_reward", &target_reward_, 1, true});
    list->push_back({"window_handle_pos_init", handle_init_pos_.data(), 3});
}

SawyerSpec Window::make_spec(const Vec3& frame_low, const Vec3& frame_high) {
    const double hand_height = 0.2f, hand_y = 0.4f;  // published as float32
    return {.model_path = "sawyer_xyz/sawyer_window_horizontal.xml",
            .hand_low = {-0.5, 0.40, 0.05},
            .hand_high = {0.5, 1.0, 0.5},
            .hand_init = {0.0, hand_y, hand_height},
            .random_low = {frame_low.begin(), frame_low.end()},
            .random_high = {frame_high.begin(), frame_high.end()},
            .goal_low = {-0.5, 0.40, 0.05},
            .goal_high = {0.5, 1.0, 0.5}};
}

}  // namespace ibrl::metaworld
