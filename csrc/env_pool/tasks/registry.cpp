#include "env_pool/tasks/registry.h"

#include <stdexcept>

#include "env_pool/tasks/metaworld/suite.h"
#include "env_pool/tasks/robosuite/suite.h"

namespace ibrl {
namespace {

// A suite's tasks are called "suite/task"; make_factory knows them without the suite, or returns null.
struct Suite {
    const char* name;
    std::vector<std::string> (*list_tasks)();
    std::unique_ptr<TaskFactory> (*make_factory)(const std::string& task, const std::string& assets);
};

constexpr Suite kSuites[] = {
    {"metaworld", metaworld::list_tasks, metaworld::make_factory},
    {"robosuite", robosuite::list_tasks, robosuite::make_factory},
};

}  // namespace

std::unique_ptr<TaskFactory> make_task_factory(const std::string& task, const std::string& assets) {
    for (const Suite& suite : kSuites) {
        const std::string prefix = std::string(suite.name) + "/";
        if (task.rfind(prefix, 0) != 0) continue;
        if (auto factory = suite.make_factory(task.substr(prefix.size()), assets)) return factory;
    }
    std::string names;
    for (const std::string& name : list_native_tasks()) names.append(names.empty() ? "" : ", ").append(name);
    throw std::invalid_argument("task: expected one of the native pool's tasks (" + names + "), got " + task);
}

std::vector<std::string> list_native_tasks() {
    std::vector<std::string> names;
    for (const Suite& suite : kSuites) {
        for (const std::string& task : suite.list_tasks())
            names.push_back(std::string(suite.name) + "/" + task);
    }
    return names;
}

}  // namespace ibrl
