// The robosuite suite: its tasks, a file each; suite.cpp gathers them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "env_pool/tasks/registry.h"
#include "env_pool/tasks/robosuite/panda_env.h"

namespace ibrl::robosuite {

struct PandaTask {
    const char* name;
    TaskSpec spec;
    std::function<std::unique_ptr<Env>(const ModelView& view, const TaskSpec& spec)> make;
};

template <typename Task>
std::unique_ptr<Env> make_panda(const ModelView& view, const TaskSpec& spec) {
    return std::make_unique<Task>(view, spec);
}

PandaTask lift_task();
PandaTask pick_place_can_task();
PandaTask nut_assembly_square_task();

std::vector<std::string> list_tasks();

// Null for a name that is not here; `model` is the file of the task's compiled model. Errors: std::runtime_error where
// that cannot be loaded.
std::unique_ptr<TaskFactory> make_factory(const std::string& task, const std::string& model);

}  // namespace ibrl::robosuite
