#include "env_pool/tasks/metaworld/drawer.h"

#include <algorithm>

namespace ibrl::metaworld {
namespace {

constexpr double kHandleOffset = -0.16;  // from the drawer's middle to its handle, along y, m

}  // namespace

Drawer::Drawer(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
               double way, double goal_opening)
    : SawyerEnv(std::move(base), spec, settled),
      link_(body("drawer_link")),
      drawer_(body("drawer")),
      goal_(site("goal")),
      goal_offset_(kHandleOffset - goal_opening),
      max_distance_(way),
      target_reward_(1000 * way + 1000 * 2) {}

void Drawer::edit_model(const double* rv) {
    target_pos_ = {rv[0], rv[1] + goal_offset_, rv[2] + 0.09};
    set_body_pos(drawer_, {rv[0], rv[1], rv[2]});
    set_site_pos(goal_, target_pos_);
}

void Drawer::observe_objects(double* frame) const {
    std::copy_n(body_position(link_), 3, frame + 4);
    frame[5] += kHandleOffset;
}

void Drawer::list_attributes(std::vector<Attribute>* list) {
    list->push_back({"maxDist", &max_distance_, 1, true});
    list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    list->push_back({"target_reward", &target_reward_, 1, true});
}

SawyerSpec Drawer::make_spec() {
    const double hand_height = 0.2f, hand_y = 0.6f;  // published as float32
    return {.model_path = "sawyer_xyz/sawyer_drawer.xml",
            .hand_low = {-0.5, 0.40, 0.05},
            .hand_high = {0.5, 1.0, 0.5},
            .hand_init = {0.0, hand_y, hand_height},
            .random_low = {-0.1, 0.9, 0.0},
            .random_high = {0.1, 0.9, 0.0},
            .goal_low = {-0.5, 0.40, 0.05},
            .goal_high = {0.5, 1.0, 0.5}};
}

}  // namespace ibrl::metaworld
