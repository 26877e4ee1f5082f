#include "env_pool/tasks/robosuite/suite.h"

#include <algorithm>
#include <utility>

namespace ibrl::robosuite {
namespace {

constexpr std::size_t kArenaBytes = 32 << 20;  // contacts, constraints and the stack of an environment

const std::vector<PandaTask>& tasks() {
    static const std::vector<PandaTask> all = {lift_task(), pick_place_can_task(),
                                               nut_assembly_square_task()};
    return all;
}

// Loads the model once: environments share it.
class PandaFactory final : public TaskFactory {
  public:
    PandaFactory(const PandaTask& task, const std::string& model)
        : task_(task), model_(load_model(model)), view_(prepare(model_)) {}

    std::unique_ptr<Env> make(bool /*prepares_resets*/) const override {
        return task_.make(view_, task_.spec);
    }
    mjModel* model() const override { return model_.get(); }

  private:
    // Nobody reads the force sensors, and the compiled model asks for more than a gigabyte for each environment.
    static std::shared_ptr<mjModel> prepare(std::shared_ptr<mjModel> model) {
        model->opt.disableflags |= mjDSBL_SENSOR;
        model->narena = std::min<std::size_t>(model->narena, kArenaBytes);
        return model;
    }

    const PandaTask& task_;
    std::shared_ptr<mjModel> model_;
    ModelView view_;
};

}  // namespace

std::vector<std::string> list_tasks() {
    std::vector<std::string> names;
    for (const PandaTask& task : tasks()) names.push_back(task.name);
    return names;
}

std::unique_ptr<TaskFactory> make_factory(const std::string& task, const std::string& model) {
    const auto found =
        std::find_if(tasks().begin(), tasks().end(), [&task](const PandaTask& t) { return t.name == task; });
    if (found == tasks().end()) return nullptr;
    MujocoErrorScope errors;
    return std::make_unique<PandaFactory>(*found, model);
}

}  // namespace ibrl::robosuite
