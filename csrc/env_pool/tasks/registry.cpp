#include "env_pool/tasks/registry.h"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl {
namespace {

const std::map<std::string, metaworld::SawyerTask (*)()>& sawyer_tasks() {
    static const std::map<std::string, metaworld::SawyerTask (*)()> tasks = {
        {"metaworld/assembly", metaworld::assembly_task},
        {"metaworld/box-close", metaworld::box_close_task},
        {"metaworld/button-press", metaworld::button_press_task},
        {"metaworld/button-press-topdown", metaworld::button_press_topdown_task},
        {"metaworld/button-press-topdown-wall", metaworld::button_press_topdown_wall_task},
        {"metaworld/button-press-wall", metaworld::button_press_wall_task},
        {"metaworld/coffee-button", metaworld::coffee_button_task},
        {"metaworld/coffee-pull", metaworld::coffee_pull_task},
        {"metaworld/coffee-push", metaworld::coffee_push_task},
        {"metaworld/dial-turn", metaworld::dial_turn_task},
        {"metaworld/door-close", metaworld::door_close_task},
        {"metaworld/door-lock", metaworld::door_lock_task},
        {"metaworld/door-open", metaworld::door_open_task},
        {"metaworld/door-unlock", metaworld::door_unlock_task},
        {"metaworld/drawer-close", metaworld::drawer_close_task},
        {"metaworld/drawer-open", metaworld::drawer_open_task},
        {"metaworld/faucet-close", metaworld::faucet_close_task},
        {"metaworld/faucet-open", metaworld::faucet_open_task},
        {"metaworld/hand-insert", metaworld::hand_insert_task},
        {"metaworld/handle-press", metaworld::handle_press_task},
        {"metaworld/handle-press-side", metaworld::handle_press_side_task},
        {"metaworld/handle-pull", metaworld::handle_pull_task},
        {"metaworld/handle-pull-side", metaworld::handle_pull_side_task},
        {"metaworld/lever-pull", metaworld::lever_pull_task},
        {"metaworld/peg-insert-side", metaworld::peg_insert_side_task},
        {"metaworld/pick-place", metaworld::pick_place_task},
        {"metaworld/plate-slide", metaworld::plate_slide_task},
        {"metaworld/plate-slide-back", metaworld::plate_slide_back_task},
        {"metaworld/plate-slide-back-side", metaworld::plate_slide_back_side_task},
        {"metaworld/plate-slide-side", metaworld::plate_slide_side_task},
        {"metaworld/push", metaworld::push_task},
        {"metaworld/reach", metaworld::reach_task},
        {"metaworld/soccer", metaworld::soccer_task},
        {"metaworld/stick-pull", metaworld::stick_pull_task},
        {"metaworld/sweep", metaworld::sweep_task},
        {"metaworld/sweep-into", metaworld::sweep_into_task},
        {"metaworld/window-close", metaworld::window_close_task},
        {"metaworld/window-open", metaworld::window_open_task},
    };
    return tasks;
}

// Loads the model once, gives the arm its weld and settles it once where every reset would settle alike.
class SawyerFactory final : public TaskFactory {
  public:
    SawyerFactory(metaworld::SawyerTask task, const std::string& assets)
        : task_(std::move(task)), model_(load_model(assets + "/" + task_.spec.model_path)) {
        for (int i = 0; i < model_->neq; ++i) {
            if (model_->eq_type[i] != mjEQ_WELD) continue;
            const double weld[mjNEQDATA] = {0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5};
            std::copy_n(weld, mjNEQDATA, model_->eq_data + mjNEQDATA * i);
        }
        if (task_.settles_alike) settled_ = task_.make(model_, task_.spec, nullptr)->settle();
    }

    std::unique_ptr<Env> make() const override {
        return task_.make(model_, task_.spec, task_.settles_alike ? &settled_ : nullptr);
    }

    mjModel* model() const override { return model_.get(); }

  private:
    metaworld::SawyerTask task_;
    std::shared_ptr<mjModel> model_;
    metaworld::Settled settled_;
};

}  // namespace

std::unique_ptr<TaskFactory> make_task_factory(const std::string& task, const std::string& assets) {
    const auto found = sawyer_tasks().find(task);
    if (found == sawyer_tasks().end()) {
        std::string names;
        for (const std::string& name : list_native_tasks())
            names.append(names.empty() ? "" : ", ").append(name);
        throw std::invalid_argument("task: expected one of the native pool's tasks (" + names + "), got " +
                                    task);
    }
    MujocoErrorScope errors;
    return std::make_unique<SawyerFactory>(found->second(), assets);
}

std::vector<std::string> list_native_tasks() {
    std::vector<std::string> names;
    for (const auto& [name, make] : sawyer_tasks()) names.push_back(name);
    return names;
}

}  // namespace ibrl
