// The Meta-World tasks that are here: what each one is made of.
#pragma once

#include <functional>
#include <memory>

#include "env_pool/tasks/metaworld/sawyer_env.h"

namespace ibrl::metaworld {

struct SawyerTask {
    SawyerSpec spec;
    bool settles_alike;  // the settled hand and scene do not depend on the draw (asserted by a test)
    std::function<std::unique_ptr<SawyerEnv>(std::shared_ptr<const mjModel>, const SawyerSpec&,
                                             const Settled*)>
        make;
};

template <typename Task>
std::unique_ptr<SawyerEnv> make_sawyer(std::shared_ptr<const mjModel> base, const SawyerSpec& spec,
                                       const Settled* settled) {
    return std::make_unique<Task>(std::move(base), spec, settled);
}

// For a class that serves several tasks: `parts` are what it needs to know beyond the spec.
template <typename Task, typename Parts>
auto make_sawyer_from(Parts parts) {
    return [parts](std::shared_ptr<const mjModel> base, const SawyerSpec& spec,
                   const Settled* settled) -> std::unique_ptr<SawyerEnv> {
        return std::make_unique<Task>(std::move(base), spec, settled, parts);
    };
}

SawyerTask assembly_task();
SawyerTask box_close_task();
SawyerTask button_press_task();
SawyerTask button_press_topdown_task();
SawyerTask button_press_topdown_wall_task();
SawyerTask button_press_wall_task();
SawyerTask coffee_button_task();
SawyerTask coffee_pull_task();
SawyerTask coffee_push_task();
SawyerTask dial_turn_task();
SawyerTask door_close_task();
SawyerTask door_lock_task();
SawyerTask door_open_task();
SawyerTask door_unlock_task();
SawyerTask drawer_close_task();
SawyerTask drawer_open_task();
SawyerTask faucet_close_task();
SawyerTask faucet_open_task();
SawyerTask hand_insert_task();
SawyerTask handle_press_task();
SawyerTask handle_press_side_task();
SawyerTask handle_pull_task();
SawyerTask handle_pull_side_task();
SawyerTask lever_pull_task();
SawyerTask peg_insert_side_task();
SawyerTask pick_place_task();
SawyerTask plate_slide_task();
SawyerTask plate_slide_back_task();
SawyerTask plate_slide_back_side_task();
SawyerTask plate_slide_side_task();
SawyerTask push_task();
SawyerTask reach_task();
SawyerTask soccer_task();
SawyerTask stick_pull_task();
SawyerTask sweep_task();
SawyerTask sweep_into_task();
SawyerTask window_close_task();
SawyerTask window_open_task();

}  // namespace ibrl::metaworld
