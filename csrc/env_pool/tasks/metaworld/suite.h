// The Meta-World suite: what a task is made of, and the families of tasks that are here.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "env_pool/tasks/metaworld/sawyer_env.h"
#include "env_pool/tasks/registry.h"

namespace ibrl::metaworld {

struct SawyerTask {
    const char* name;
    SawyerSpec spec;
    bool settles_alike;  // the settled hand and scene do not depend on the draw (asserted by a test)
    std::function<std::unique_ptr<SawyerEnv>(std::shared_ptr<const mjModel>, const SawyerSpec&,
                                             const Settled*)>
        make;
};

using SawyerTasks = std::vector<SawyerTask>;

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

// One function for each file of tasks; suite.cpp gathers them.
SawyerTasks basketball_tasks();
SawyerTasks bin_picking_tasks();
SawyerTasks box_close_tasks();
SawyerTasks coffee_mug_tasks();
SawyerTasks dial_turn_tasks();
SawyerTasks door_tasks();
SawyerTasks drawer_tasks();
SawyerTasks faucet_tasks();
SawyerTasks hammer_tasks();
SawyerTasks hand_insert_tasks();
SawyerTasks handle_tasks();
SawyerTasks lever_pull_tasks();
SawyerTasks lock_tasks();
SawyerTasks nut_tasks();
SawyerTasks peg_tasks();
SawyerTasks pick_place_tasks();
SawyerTasks press_tasks();
SawyerTasks push_tasks();
SawyerTasks reach_tasks();
SawyerTasks sliding_plate_tasks();
SawyerTasks soccer_tasks();
SawyerTasks stick_tasks();
SawyerTasks swept_block_tasks();
SawyerTasks window_tasks();

std::vector<std::string> list_tasks();

// Null for a name that is not here. Errors: std::runtime_error where the task's model cannot be loaded.
std::unique_ptr<TaskFactory> make_factory(const std::string& task, const std::string& assets);

}  // namespace ibrl::metaworld
