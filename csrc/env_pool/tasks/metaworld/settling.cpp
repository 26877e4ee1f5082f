#include "env_pool/tasks/metaworld/settling.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "env_pool/tasks/metaworld/sawyer_env.h"

namespace ibrl::metaworld {

SettlingTwin::SettlingTwin(std::unique_ptr<SawyerEnv> env) : env_(std::move(env)) {}
SettlingTwin::~SettlingTwin() = default;

void SettlingTwin::settle(SawyerEnv& owner) {
    std::lock_guard lock(mutex_);
    if (env_->settling_step_ < 0 || !env_->view_.has_edits_of(owner.view_)) {
        env_->view_.copy_edits(owner.view_);
        env_->begin_settling();
    }
    while (env_->settle_some()) continue;
    owner.copy_physics(env_->data_.get());
}

bool SettlingTwin::plan(SawyerEnv& owner) {
    std::lock_guard lock(mutex_);
    env_->copy_task(owner);
    env_->draw();
    env_->edit_model(env_->rand_vec_.data());
    env_->begin_settling();
    return !std::exchange(is_planned_, true);
}

bool SettlingTwin::prepare() {
    std::lock_guard lock(mutex_);
    try {
        is_planned_ = env_->settling_step_ >= 0 && env_->settle_some();
    } catch (...) {
        // The reset itself will meet the same error, and say so.
        env_->settling_step_ = -1;
        is_planned_ = false;
    }
    return is_planned_;
}

}  // namespace ibrl::metaworld
