#include "env_pool/tasks/metaworld/suite.h"

#include <algorithm>
#include <map>
#include <utility>

namespace ibrl::metaworld {
namespace {

constexpr SawyerTasks (*kFamilies[])() = {
    basketball_tasks, bin_picking_tasks, box_close_tasks,   coffee_mug_tasks, dial_turn_tasks,
    door_tasks,       drawer_tasks,      faucet_tasks,      hammer_tasks,     hand_insert_tasks,
    handle_tasks,     lever_pull_tasks,  lock_tasks,        nut_tasks,        peg_tasks,
    pick_place_tasks, press_tasks,       push_tasks,        reach_tasks,      sliding_plate_tasks,
    soccer_tasks,     stick_tasks,       swept_block_tasks, window_tasks};

const std::map<std::string, SawyerTask>& tasks_by_name() {
    static const std::map<std::string, SawyerTask> tasks = [] {
        std::map<std::string, SawyerTask> found;
        for (const auto family : kFamilies) {
            for (SawyerTask& task : family()) found.emplace(task.name, std::move(task));
        }
        return found;
    }();
    return tasks;
}

// Loads the model once, gives the arm its weld and settles it once where every reset would settle alike.
class SawyerFactory final : public TaskFactory {
  public:
    SawyerFactory(const SawyerTask& task, const std::string& assets)
        : task_(task), model_(load_model(assets + "/" + task_.spec.model_path)) {
        for (int i = 0; i < model_->neq; ++i) {
            if (model_->eq_type[i] != mjEQ_WELD) continue;
            const double weld[mjNEQDATA] = {0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5};
            std::copy_n(weld, mjNEQDATA, model_->eq_data + mjNEQDATA * i);
        }
        if (task_.settles_alike) settled_ = task_.make(model_, task_.spec, nullptr)->settle_default_scene();
    }

    std::unique_ptr<Env> make(bool prepares_resets) const override {
        auto env = task_.make(model_, task_.spec, task_.settles_alike ? &settled_ : nullptr);
        if (prepares_resets && !task_.settles_alike) {
            env->set_twin(task_.make(model_, task_.spec, nullptr));
        }
        return env;
    }

    mjModel* model() const override { return model_.get(); }

  private:
    const SawyerTask task_;
    std::shared_ptr<mjModel> model_;
    Settled settled_;
};

}  // namespace

std::vector<std::string> list_tasks() {
    std::vector<std::string> names;
    for (const auto& [name, task] : tasks_by_name()) names.push_back(name);
    return names;
}

std::unique_ptr<TaskFactory> make_factory(const std::string& task, const std::string& assets) {
    const auto found = tasks_by_name().find(task);
    if (found == tasks_by_name().end()) return nullptr;
    MujocoErrorScope errors;
    return std::make_unique<SawyerFactory>(found->second, assets);
}

}  // namespace ibrl::metaworld
