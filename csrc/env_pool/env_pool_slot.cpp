// One environment of a pool: its episodes and observations.
#include <algorithm>

#include "env_pool/env_pool.h"
#include "env_pool/mujoco_model.h"

namespace ibrl {

void EnvPool::start_episode(Slot* slot, const ResetRequest* request) {
    Env& env = *slot->env;
    bool repeats_start = options_.fixed_goals;
    if (request != nullptr && request->seed) {
        env.seed(*request->seed);
        // Fixed goals: the first draw after a seed is the one that is repeated.
        if (options_.fixed_goals) env.reset(false);
    }
    if (request != nullptr && request->start != nullptr) {
        env.set_start(request->start);
        repeats_start = true;
    }
    env.reset(repeats_start);
    slot->elapsed_steps = 0;
    slot->episode_return = 0.0;
    slot->needs_reset = false;
    plan_reset(slot);
}

void EnvPool::plan_reset(Slot* slot) {
    if (!options_.settle_ahead || !slot->env->plan_reset(options_.fixed_goals)) return;
    workers_->add_idle([env = slot->env.get()] {
        MujocoErrorScope errors;
        return env->prepare_reset();
    });
}

void EnvPool::step_slot(int env_id, int thread, const float* action, const Batch& batch) {
    Slot& slot = slots_[env_id];
    batch.reward[env_id] = 0.0f;
    batch.terminated[env_id] = batch.truncated[env_id] = batch.success[env_id] = batch.diverged[env_id] = 0;
    batch.elapsed_steps[env_id] = 0;
    batch.episode_return[env_id] = 0.0;
    if (slot.needs_reset) {
        start_episode(&slot, nullptr);
        observe_frame(env_id, thread, true);
        write_stacks(env_id, batch.obs);
        return;
    }

    // Values outside the range count as its ends.
    std::transform(action, action + slot.action.size(), slot.action.begin(),
                   [](float value) { return std::clamp(value, -1.0f, 1.0f); });

    // The action is repeated until success ends the episode or the physics fails.
    double dense_reward = 0.0;
    bool success = false, diverged = false;
    for (int repeat = 0; repeat < options_.action_repeat && !diverged; ++repeat) {
        Evaluation evaluation;
        diverged = !slot.env->step(slot.action.data(), options_.dense, &evaluation);
        if (diverged) break;
        dense_reward += evaluation.reward;
        success = success || evaluation.success;
        if (success && options_.terminate_on_success) break;
    }
    slot.elapsed_steps += 1;
    const double reward = options_.dense ? dense_reward : (success ? 1.0 : 0.0);
    slot.episode_return += reward;
    const bool terminated = success && options_.terminate_on_success && !diverged;
    const bool out_of_time = slot.elapsed_steps >= options_.max_episode_steps;
    const bool truncated = !terminated && (out_of_time || diverged);

    batch.reward[env_id] = static_cast<float>(reward);
    batch.terminated[env_id] = terminated;
    batch.truncated[env_id] = truncated;
    batch.success[env_id] = success;
    batch.diverged[env_id] = diverged;

    // The end of an episode: its last observation goes beside the first one of the next.
    observe_frame(env_id, thread, false);
    if (terminated || truncated) {
        if (options_.autoreset == Autoreset::same_step) {
            batch.elapsed_steps[env_id] = slot.elapsed_steps;
            batch.episode_return[env_id] = slot.episode_return;
            write_stacks(env_id, batch.final_obs);
            start_episode(&slot, nullptr);
            observe_frame(env_id, thread, true);
        } else {
            slot.needs_reset = true;
        }
    }
    write_stacks(env_id, batch.obs);
}

void EnvPool::observe_frame(int env_id, int thread, bool is_first) {
    Env& env = *slots_[env_id].env;
    std::vector<std::uint8_t*> pictures;
    for (int key = 0; key < num_keys(); ++key) {
        std::uint8_t* frame = stacks_[key].next(env_id);
        if (is_vector(key)) {
            const double* values = env.vector(vector_ids_[key]);
            std::transform(values, values + stacks_[key].frame_bytes() / sizeof(float),
                           reinterpret_cast<float*>(frame),
                           [](double value) { return static_cast<float>(value); });
        } else {
            pictures.push_back(frame);
        }
    }
    if (!pictures.empty()) renderer_of(thread)->render(env, pictures);
    for (FrameStack& stack : stacks_) stack.push(env_id, is_first);
}

void EnvPool::write_stacks(int env, const std::vector<std::uint8_t*>& obs) const {
    for (std::size_t key = 0; key < obs.size(); ++key) stacks_[key].write(env, obs[key]);
}

Renderer* EnvPool::renderer_of(int thread) {
    std::unique_ptr<Renderer>& renderer = renderers_.at(thread);
    if (!renderer) renderer = std::make_unique<Renderer>(factory_->model(), options_.render);
    return renderer.get();
}

}  // namespace ibrl
