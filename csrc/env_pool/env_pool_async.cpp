// Steps of some environments, received as they finish.
#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "env_pool/env_pool.h"

namespace ibrl {
namespace {

template <typename T>
void copy_row(const T* from, int from_row, T* to, int to_row, std::size_t size) {
    if (from != nullptr && to != nullptr) std::copy_n(from + from_row * size, size, to + to_row * size);
}

}  // namespace

void EnvPool::send(const float* actions, const std::vector<int>& envs) {
    for (int env : envs) {
        if (!slots_[env].is_in_flight) continue;
        throw std::runtime_error("send: environment " + std::to_string(env) + " is still in flight");
    }

    // Whatever needs memory first: an environment counts as in flight only if its job is queued.
    std::vector<Job> jobs;
    jobs.reserve(envs.size());
    for (std::size_t i = 0; i < envs.size(); ++i) {
        const int env = envs[i];
        Slot& slot = slots_[env];
        std::copy_n(actions + i * slot.action.size(), slot.action.size(), slot.action.begin());
        jobs.push_back([this, env](int thread) {
            run_guarded(env, thread,
                        [this](int e, int t) { step_slot(e, t, slots_[e].action.data(), home_); });
            std::lock_guard lock(done_mutex_);
            finished_.push_back(env);
            done_.notify_all();
        });
    }
    for (int env : envs) slots_[env].is_in_flight = true;
    in_flight_ += static_cast<int>(envs.size());
    workers_->add(std::move(jobs));
    // A pool without threads of its own does the work here.
    if (workers_->size() == 0) workers_->help();
}

bool EnvPool::recv(int count, int wait_ms, const Batch& batch, std::vector<int>* envs) {
    std::unique_lock lock(done_mutex_);
    if (count > in_flight_) {
        throw std::runtime_error("recv: expected at most the " + std::to_string(in_flight_) +
                                 " environments in flight, got batch_size " + std::to_string(count));
    }
    envs->reserve(count);
    const auto enough = [this, count] { return static_cast<int>(finished_.size()) >= count; };
    if (!done_.wait_for(lock, std::chrono::milliseconds(wait_ms), enough)) return false;
    envs->assign(finished_.begin(), finished_.begin() + count);
    finished_.erase(finished_.begin(), finished_.begin() + count);
    lock.unlock();

    for (int row = 0; row < count; ++row) {
        const int env = (*envs)[row];
        copy_row(home_.reward, env, batch.reward, row, 1);
        copy_row(home_.terminated, env, batch.terminated, row, 1);
        copy_row(home_.truncated, env, batch.truncated, row, 1);
        copy_row(home_.success, env, batch.success, row, 1);
        copy_row(home_.diverged, env, batch.diverged, row, 1);
        copy_row(home_.elapsed_steps, env, batch.elapsed_steps, row, 1);
        copy_row(home_.episode_return, env, batch.episode_return, row, 1);
        const bool ended = home_.terminated[env] != 0 || home_.truncated[env] != 0;
        const bool has_final = ended && !batch.final_obs.empty() && !home_.final_obs.empty();
        for (std::size_t key = 0; key < std::min(batch.obs.size(), home_.obs.size()); ++key) {
            const std::size_t bytes = stacks_[key].row_bytes();
            copy_row(home_.obs[key], env, batch.obs[key], row, bytes);
            if (has_final) copy_row(home_.final_obs[key], env, batch.final_obs[key], row, bytes);
        }
    }

    // Only now may these environments be sent again.
    for (int env : *envs) slots_[env].is_in_flight = false;
    in_flight_ -= count;
    rethrow_first(*envs);
    return true;
}

}  // namespace ibrl
