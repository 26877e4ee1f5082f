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

    make_stacks();

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

void EnvPool::make_stacks() {
    // One stack per key: the vectors that are observed, then the cameras.
    if (options_.stacks.size() != options_.vectors.size() + options_.render.cameras.size()) {
        throw std::invalid_argument("stacks: expected one for each vector and camera");
    }
    const std::vector<VectorInfo> known = slots_.front().env->vectors();
    for (const std::string& name : options_.vectors) {
        const auto found = std::find_if(known.begin(), known.end(),
                                        [&name](const VectorInfo& vector) { return vector.name == name; });
        if (found == known.end()) {
            throw std::invalid_argument("vectors: expected those of " + options_.task + ", got " + name);
        }
        const std::size_t bytes = sizeof(float) * found->dim;
        stacks_.emplace_back(options_.num_envs, options_.stacks[stacks_.size()], bytes, bytes);
        vector_ids_.push_back(static_cast<int>(found - known.begin()));
    }
    const std::size_t frame = options_.render.frame_bytes();
    for (std::size_t camera = 0; camera < options_.render.cameras.size(); ++camera) {
        stacks_.emplace_back(options_.num_envs, options_.stacks[stacks_.size()], frame,
                             options_.render.channels_last ? 3 : frame);
    }
}

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
        if (request.start == nullptr || slots_[request.env].env->accepts_start(request.start)) continue;
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
        write_stacks(env, batch.obs);
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
        write_stacks(env, batch.obs);
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

}  // namespace ibrl
