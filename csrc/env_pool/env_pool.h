// N environments of one task, stepped and rendered by threads. Results never depend on which thread did what.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "env_pool/env.h"
#include "env_pool/frame_stack.h"
#include "env_pool/pool_batch.h"
#include "env_pool/pool_options.h"
#include "env_pool/renderer.h"
#include "env_pool/tasks/registry.h"
#include "env_pool/video_renderer.h"
#include "env_pool/worker_threads.h"

namespace ibrl {

// One thread at a time may call a pool: its owner sees to that.
class EnvPool {
  public:
    explicit EnvPool(const PoolOptions& options);
    ~EnvPool();

    int num_envs() const { return static_cast<int>(slots_.size()); }
    int num_keys() const { return static_cast<int>(stacks_.size()); }  // of observations
    bool is_vector(int key) const { return key < static_cast<int>(vector_ids_.size()); }
    int action_dim() const { return slots_.front().env->action_dim(); }
    int start_dim() const { return slots_.front().env->start_dim(); }
    const RenderInfo& render_info() const { return render_info_; }
    std::vector<std::string> camera_names() const;

    // Synchronous: row i of the batch is environment i. Errors of a worker are rethrown here. A reset with a
    // start that its task does not accept changes nothing.
    void reset(const std::vector<ResetRequest>& requests, const Batch& batch);
    void step(const float* actions, const Batch& batch);

    // Asynchronous: results wait in the rows of `home` until received. recv copies the results of the count
    // environments that finished first, and says which; false after wait_ms without enough of them.
    void set_home(const Batch& home) { home_ = home; }
    bool has_home() const { return home_.reward != nullptr; }
    void send(const float* actions, const std::vector<int>& envs);
    bool recv(int count, int wait_ms, const Batch& batch, std::vector<int>* envs);
    int in_flight() const { return in_flight_; }

    EnvState get_state(int env) const;
    // Entries of other names or sizes than the environment's own change nothing.
    void set_state(int env, const EnvState& state);

    // Frames of all environments under a key, bytes [num_envs, k, frame].
    std::size_t stack_bytes(int key) const { return row_bytes(key) * slots_.size(); }
    std::size_t row_bytes(int key) const { return stacks_.at(key).row_bytes(); }
    void get_stack(int key, std::uint8_t* frames) const;

    // Observations of all environments as set_state left them. Their stacks are those given, one for each key
    // as get_stack gives them, or begin anew where that is null.
    void observe(const std::vector<const std::uint8_t*>& stacks, const Batch& batch);

    // Upright pictures [envs.size(), size, size, 3] of the current states.
    void render_frames(const std::vector<int>& envs, const std::string& camera, int size,
                       const std::string& platform, int device, std::uint8_t* pixels);

  private:
    struct Slot {
        std::unique_ptr<Env> env;
        std::int64_t elapsed_steps = 0;
        double episode_return = 0.0;
        bool needs_reset = false;
        bool is_in_flight = false;
        std::exception_ptr error;
        std::vector<float> action;
    };

    void make_stacks();

    using SlotJob = std::function<void(int env, int thread)>;
    void run_all(const std::vector<int>& envs, const SlotJob& job);
    void run_guarded(int env, int thread, const SlotJob& job);
    void rethrow_first(const std::vector<int>& envs);
    void check_idle(const char* what) const;

    void start_episode(Slot* slot, const ResetRequest* request);
    void plan_reset(Slot* slot);
    void step_slot(int env, int thread, const float* action, const Batch& batch);
    void observe_frame(int env, int thread, bool is_first);
    void write_stacks(int env, const std::vector<std::uint8_t*>& obs) const;
    Renderer* renderer_of(int thread);
    std::vector<int> all_envs() const;

    PoolOptions options_;
    std::unique_ptr<TaskFactory> factory_;
    std::vector<Slot> slots_;
    std::vector<float> actions_;      // of the step under way: the caller's array may change meanwhile
    std::vector<int> vector_ids_;     // of the observed vectors, as environments number them
    std::vector<FrameStack> stacks_;  // of each key
    std::vector<std::unique_ptr<Renderer>> renderers_;  // one per thread, made and freed on it
    RenderInfo render_info_;
    Batch home_;

    bool waits_briefly_ = false;
    std::mutex done_mutex_;
    std::condition_variable done_;
    std::atomic<int> running_{0};  // jobs of the synchronous call under way
    std::deque<int> finished_;     // environments whose asynchronous result waits
    std::atomic<int> in_flight_{0};
    std::unique_ptr<WorkerThreads> workers_;
    std::unique_ptr<VideoRenderer> video_renderer_;  // made when it is first asked for
};

}  // namespace ibrl
