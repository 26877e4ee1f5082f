// Tasks by name. A suite lists the tasks of its folder, and registry.cpp the suites, a line each.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "env_pool/env.h"

namespace ibrl {

// Makes the environments of one pool: they share a model and whatever a reset can reuse.
class TaskFactory {
  public:
    virtual ~TaskFactory() = default;

    // prepares_resets: with the memory that keeping, or making in advance, the scenes of resets takes.
    virtual std::unique_ptr<Env> make(bool prepares_resets) const = 0;

    // The shared model; cameras may be moved before the first environment is made.
    virtual mjModel* model() const = 0;
};

// Errors: std::invalid_argument for an unknown task, std::runtime_error where its model cannot be loaded.
std::unique_ptr<TaskFactory> make_task_factory(const std::string& task, const std::string& assets);

std::vector<std::string> list_native_tasks();

}  // namespace ibrl
