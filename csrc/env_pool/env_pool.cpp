#include "env_pool/env_pool.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "env_pool/errors.h"
#include "env_pool/mujoco_model.h"

namespace ibrl {

EnvPool::EnvPool(const PoolOptions& options) : options_(options) {
    MujocoErrorScope errors;
    factory_ = make_task_factory(options_.task, options_.assets);
    for (const auto& [camera, position] : options_.camera_positions) {
        const int id = find_camera(factory_->model(), camera);
        std::copy_n(position.begin(), 3, factory_->model()->cam_pos + 3 * id);
    }
    for (const auto& [camera, quaternion] : options_.camera_quaternions) {
        turn_camera(factory_->model(), camera, quaternion.data());
    }
    for (const std::string& camera : options_.render.cameras) find_camera(factory_->model(), camera);

    slots_.resize(options_.num_envs);
    for (Slot& slot : slots_) {
        slot.env = factory_->make(options_.settle_ahead || options_.fixed_goals);
        slot.action.resize(slot.env->action_dim());
    }

    const std::size_t frame = options_.render.frame_bytes();
    const std::size_t state_bytes = sizeof(float) * observation_dim();
    stacks_.emplace_back(options_.num_envs, options_.state_stack, state_bytes, state_bytes);
    for (const int depth : options_.image_stack) {
        stacks_.emplace_back(options_.num_envs, depth, frame, options_.render.channels_last ? 3 : frame);
    }

    // Without pictures the caller works too, so one thread fewer does; contexts of pictures stay on their own
    // threads.
    const bool renders = !options_.render.cameras.empty();
    const int threads = std::max(std::min(options_.num_threads, options_.num_envs) - (renders ? 0 : 1),
                                 options_.settle_ahead ? 1 : 0);
    renderers_.resize(threads);
    waits_briefly_ = options_.num_threads <= static_cast<int>(std::thread::hardware_concurrency());
    workers_ = std::make_unique<WorkerThreads>(threads, waits_briefly_,
                                               [this](int thread) { renderers_[thread].reset(); });

    // A machine that cannot render says so now.
    if (renders) {
        run_all({0}, [this](int, int thread) { render_info_ = renderer_of(thread)->info(); });
    }
}

EnvPool::~EnvPool() = default;

std::vector<std::string> EnvPool::camera_names() const {
    std::vector<std::string> names;
    const mjModel* model = factory_->model();
    for (int id = 0; id < model->ncam; ++id) names.emplace_back(model->names + model->name_camadr[id]);
    return names;
}

// ---- synchronous calls ----

void EnvPool::reset(const std::vector<ResetRequest>& requests, const Batch& batch) {
    check_idle("reset");
    std::vector<const ResetRequest*> by_env(slots_.size(), nullptr);
    std::vector<int> envs;
    for (const ResetRequest& request : requests) {
        if (request.rand_vec == nullptr || slots_[request.env].env->accepts_rand_vec(request.rand_vec))
            continue;
        throw RandVecError("environment " + std::to_string(request.env) +
                           ": rand_vec: start and goal are closer than the task allows");
    }
    for (const ResetRequest& request : requests) {
        by_env[request.env] = &request;
        envs.push_back(request.env);
    }
    run_all(envs, [&](int env, int thread) {
        start_episode(&slots_[env], by_env[env]);
        observe_frame(env, thread, true);
        write_stacks(env, batch.state, batch.images);
    });
}

void EnvPool::step(const float* actions, const Batch& batch) {
    check_idle("step");
    const std::size_t dim = action_dim();
    actions_.assign(actions, actions + slots_.size() * dim);
    run_all(all_envs(),
            [&](int env, int thread) { step_slot(env, thread, actions_.data() + env * dim, batch); });
}

void EnvPool::observe(const std::vector<const std::uint8_t*>& stacks, const Batch& batch) {
    check_idle("observe");
    run_all(all_envs(), [&](int env, int thread) {
        observe_frame(env, thread, true);
        for (std::size_t key = 0; key < stacks_.size(); ++key) {
            if (stacks[key] != nullptr) stacks_[key].set(env, stacks[key] + env * stacks_[key].row_bytes());
        }
        write_stacks(env, batch.state, batch.images);
    });
}

void EnvPool::get_stack(int key, std::uint8_t* frames) const {
    check_idle("get_state");
    const FrameStack& stack = stacks_.at(key);
    for (std::size_t env = 0; env < slots_.size(); ++env) stack.get(env, frames + env * stack.row_bytes());
}

std::vector<int> EnvPool::all_envs() const {
    std::vector<int> envs(slots_.size());
    std::iota(envs.begin(), envs.end(), 0);
    return envs;
}

void EnvPool::run_all(const std::vector<int>& envs, const SlotJob& job) {
    // One environment without pictures is not worth waking a thread for.
    const bool renders = !options_.render.cameras.empty();
    if (workers_->size() == 0 || (envs.size() == 1 && !renders)) {
        for (int env : envs) run_guarded(env, -1, job);
    } else {
        {
            std::lock_guard lock(done_mutex_);
            running_ = static_cast<int>(envs.size());
        }
        std::vector<Job> jobs;
        jobs.reserve(envs.size());
        for (int env : envs) {
            jobs.push_back([this, env, &job](int thread) {
                run_guarded(env, thread, job);
                std::lock_guard lock(done_mutex_);
                if (--running_ == 0) done_.notify_all();
            });
        }
        workers_->add(std::move(jobs));
        if (!renders) workers_->help();
        if (waits_briefly_ && !renders) {
            wait_briefly(std::chrono::microseconds(150), [this] { return running_ == 0; });
        }
        std::unique_lock lock(done_mutex_);
        done_.wait(lock, [this] { return running_ == 0; });
    }
    rethrow_first(envs);
}

void EnvPool::run_guarded(int env, int thread, const SlotJob& job) {
    try {
        MujocoErrorScope errors;
        job(env, thread);
    } catch (...) {
        slots_[env].error = std::current_exception();
    }
}

void EnvPool::rethrow_first(const std::vector<int>& envs) {
    std::exception_ptr first;
    int where = 0;
    for (int env : envs) {
        std::exception_ptr error = std::exchange(slots_[env].error, nullptr);
        if (error && !first) {
            first = error;
            where = env;
        }
    }
    if (!first) return;
    try {
        std::rethrow_exception(first);
    } catch (const RenderingError&) {
        throw;  // the machine's, not one environment's
    } catch (const RenderDeviceError&) {
        throw;
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception& error) {
        throw std::runtime_error("environment " + std::to_string(where) + ": " + error.what());
    }
}

void EnvPool::check_idle(const char* what) const {
    if (in_flight_ > 0) {
        throw std::runtime_error(std::string(what) + ": expected recv() of everything sent before, " +
                                 std::to_string(in_flight_) + " environments are in flight");
    }
}

// ---- asynchronous calls ----

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

namespace {

template <typename T>
void copy_row(const T* from, int from_row, T* to, int to_row, std::size_t size) {
    if (from != nullptr && to != nullptr) std::copy_n(from + from_row * size, size, to + to_row * size);
}

}  // namespace

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

    const std::size_t dim = stacks_.front().row_bytes() / sizeof(float);
    for (int row = 0; row < count; ++row) {
        const int env = (*envs)[row];
        copy_row(home_.state, env, batch.state, row, dim);
        copy_row(home_.reward, env, batch.reward, row, 1);
        copy_row(home_.terminated, env, batch.terminated, row, 1);
        copy_row(home_.truncated, env, batch.truncated, row, 1);
        copy_row(home_.success, env, batch.success, row, 1);
        copy_row(home_.diverged, env, batch.diverged, row, 1);
        copy_row(home_.elapsed_steps, env, batch.elapsed_steps, row, 1);
        copy_row(home_.episode_return, env, batch.episode_return, row, 1);
        const bool ended = home_.terminated[env] != 0 || home_.truncated[env] != 0;
        if (ended) copy_row(home_.final_state, env, batch.final_state, row, dim);
        for (std::size_t camera = 0; camera < std::min(batch.images.size(), home_.images.size()); ++camera) {
            const std::size_t bytes = stacks_[camera + 1].row_bytes();
            copy_row(home_.images[camera], env, batch.images[camera], row, bytes);
            if (ended && !batch.final_images.empty() && !home_.final_images.empty()) {
                copy_row(home_.final_images[camera], env, batch.final_images[camera], row, bytes);
            }
        }
    }

    // Only now may these environments be sent again.
    for (int env : *envs) slots_[env].is_in_flight = false;
    in_flight_ -= count;
    rethrow_first(*envs);
    return true;
}

// ---- one environment ----

void EnvPool::start_episode(Slot* slot, const ResetRequest* request) {
    Env& env = *slot->env;
    bool frozen = options_.fixed_goals;
    if (request != nullptr && request->seed) {
        env.seed(*request->seed);
        // Fixed goals: the first draw after a seed is the one that is repeated.
        if (options_.fixed_goals) env.reset(false);
    }
    if (request != nullptr && request->rand_vec != nullptr) {
        env.set_rand_vec(request->rand_vec);
        frozen = true;
    }
    env.reset(frozen);
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
        write_stacks(env_id, batch.state, batch.images);
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
            write_stacks(env_id, batch.final_state, batch.final_images);
            start_episode(&slot, nullptr);
            observe_frame(env_id, thread, true);
        } else {
            slot.needs_reset = true;
        }
    }
    write_stacks(env_id, batch.state, batch.images);
}

void EnvPool::observe_frame(int env_id, int thread, bool is_first) {
    Env& env = *slots_[env_id].env;
    auto* state = reinterpret_cast<float*>(stacks_[0].next(env_id));
    for (int i = 0; i < env.observation_dim(); ++i) state[i] = static_cast<float>(env.observation()[i]);
    if (stacks_.size() > 1) {
        std::vector<std::uint8_t*> pictures;
        for (std::size_t key = 1; key < stacks_.size(); ++key) pictures.push_back(stacks_[key].next(env_id));
        renderer_of(thread)->render(env, pictures);
    }
    for (FrameStack& stack : stacks_) stack.push(env_id, is_first);
}

void EnvPool::write_stacks(int env, float* state, const std::vector<std::uint8_t*>& images) const {
    if (state != nullptr) stacks_[0].write(env, reinterpret_cast<std::uint8_t*>(state));
    for (std::size_t camera = 0; camera < images.size(); ++camera) {
        stacks_[camera + 1].write(env, images[camera]);
    }
}

Renderer* EnvPool::renderer_of(int thread) {
    std::unique_ptr<Renderer>& renderer = renderers_.at(thread);
    if (!renderer) renderer = std::make_unique<Renderer>(factory_->model(), options_.render);
    return renderer.get();
}

// ---- state and pictures ----

namespace {

// The given entries must be those of the environment, each of its size.
void check_entries(const StateEntries& expected, const StateEntries& given) {
    for (const StateEntry& entry : expected) {
        const auto found = std::find_if(given.begin(), given.end(),
                                        [&entry](const StateEntry& e) { return e.name == entry.name; });
        if (found == given.end()) {
            throw std::invalid_argument("state: expected an entry '" + entry.name + "', found none");
        }
        if (entry.kind == StateEntry::Kind::int64 && !found->values.empty() &&
            !(found->values[0] >= 0.0 && found->values[0] <= 9007199254740992.0)) {
            throw std::invalid_argument("state['" + entry.name + "']: expected a count");
        }
        if (found->values.size() == entry.values.size() && found->words.size() == entry.words.size())
            continue;
        throw std::invalid_argument("state['" + entry.name + "']: expected " +
                                    std::to_string(entry.values.size() + entry.words.size()) +
                                    " numbers, got " +
                                    std::to_string(found->values.size() + found->words.size()));
    }
}

}  // namespace

EnvState EnvPool::get_state(int env) const {
    check_idle("get_state");
    const Slot& slot = slots_.at(env);
    return {slot.env->get_state(), slot.elapsed_steps, slot.episode_return, slot.needs_reset};
}

void EnvPool::set_state(int env, const EnvState& state) {
    check_idle("set_state");
    MujocoErrorScope errors;
    Slot& slot = slots_.at(env);
    check_entries(slot.env->get_state(), state.entries);
    slot.env->set_state(state.entries);
    slot.elapsed_steps = state.elapsed_steps;
    slot.episode_return = state.episode_return;
    slot.needs_reset = state.needs_reset;
    plan_reset(&slot);
}

void EnvPool::render_frames(const std::vector<int>& envs, const std::string& camera, int size,
                            const std::string& platform, int device, std::uint8_t* pixels) {
    check_idle("render_frames");
    find_camera(factory_->model(), camera);
    if (!video_thread_) {
        video_thread_ = std::make_unique<WorkerThreads>(1, false, [this](int) { video_renderers_.clear(); });
    }

    // On a thread of its own: the caller's OpenGL context stays as it is.
    std::exception_ptr error;
    bool is_done = false;
    video_thread_->add({[&](int) {
        try {
            MujocoErrorScope errors;
            RenderOptions options = options_.render;
            options.cameras = {camera};
            options.platform = platform;
            options.device = device;
            options.height = options.width = size;
            options.channels_last = true;
            const auto fits = [&](const auto& r) {
                return r->options().width == size && r->options().cameras[0] == camera;
            };
            auto found = std::find_if(video_renderers_.begin(), video_renderers_.end(), fits);
            if (found == video_renderers_.end()) {
                video_renderers_.push_back(std::make_unique<Renderer>(factory_->model(), options));
                found = video_renderers_.end() - 1;
            }
            for (std::size_t i = 0; i < envs.size(); ++i) {
                (*found)->render(*slots_.at(envs[i]).env, {pixels + i * options.frame_bytes()});
            }
        } catch (...) {
            error = std::current_exception();
        }
        std::lock_guard done_lock(done_mutex_);
        is_done = true;
        done_.notify_all();
    }});
    std::unique_lock done_lock(done_mutex_);
    done_.wait(done_lock, [&] { return is_done; });
    if (error) std::rethrow_exception(error);
}

}  // namespace ibrl
