#include "common/thread_pool.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace ibrl::detail {
namespace {

// Work that several threads share, piece by piece.
struct Task {
    PieceFunction function;
    void* body;
    int64_t count, grain;
    std::atomic<int64_t> next{0};

    int useful_threads(int threads) const {
        return static_cast<int>(std::min<int64_t>(threads, (count + grain - 1) / grain));
    }

    static void run(void* task) {
        Task& t = *static_cast<Task*>(task);
        for (int64_t begin; (begin = t.next.fetch_add(t.grain)) < t.count;)
            t.function(t.body, begin, std::min(begin + t.grain, t.count));
    }
};

class ThreadPool {
  public:
    // One call at a time; a second caller is told to do its work alone.
    bool try_run(Task& task, int threads) {
        std::unique_lock<std::mutex> only_caller(caller_mutex_, std::try_to_lock);
        if (!only_caller) return false;

        // Publish the task and wake as many workers as it can use.
        const int helpers = task.useful_threads(threads) - 1;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            while (static_cast<int>(workers_.size()) < helpers) {
                const int id = static_cast<int>(workers_.size());
                workers_.emplace_back([this, id, seen = generation_] { work(id, seen); });
            }
            task_ = &task;
            helpers_ = helpers;
            ++generation_;
        }
        wake_.notify_all();

        // Take part until no piece is left, close the task for
        // late workers, wait for those still inside a piece.
        Task::run(&task);
        std::unique_lock<std::mutex> lock(mutex_);
        helpers_ = 0;
        finished_.wait(lock, [this] { return running_ == 0; });
        return true;
    }

  private:
    void work(int id, uint64_t seen) {
        for (;;) {
            Task* task;
            {
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait(lock, [&] { return generation_ != seen; });
                seen = generation_;
                if (id >= helpers_) continue;
                ++running_;
                task = task_;
            }
            Task::run(task);
            std::lock_guard<std::mutex> lock(mutex_);
            if (--running_ == 0) finished_.notify_one();
        }
    }

    std::mutex caller_mutex_, mutex_;
    std::condition_variable wake_, finished_;
    std::vector<std::thread> workers_;
    uint64_t generation_ = 0;
    Task* task_ = nullptr;
    int helpers_ = 0, running_ = 0;
};

// A forked child has none of its parent's threads: it gets a pool of its own. Pools are never destroyed, so
// that a worker never outlives what it waits on.
ThreadPool& pool() {
    static std::mutex mutex;
    static pid_t owner = 0;
    static ThreadPool* current = nullptr;
    std::lock_guard<std::mutex> lock(mutex);
    if (owner != getpid()) current = new ThreadPool, owner = getpid();
    return *current;
}

const pid_t loaded_by = getpid();

// The parallel region of the OpenMP runtime that torch brought into the process, null without one. Its
// threads spin for a while after each of torch's ops: they are awake for ours, and would keep other threads
// off their cores. It does not survive a fork.
using ParallelRegion = void (*)(void (*function)(void*), void* data, unsigned threads, unsigned flags);
ParallelRegion openmp_region() {
    static const auto found = reinterpret_cast<ParallelRegion>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    return getpid() == loaded_by ? found : nullptr;
}

}  // namespace

void run_pieces(PieceFunction function, void* body, int64_t count, int64_t grain, int threads) {
    Task task{function, body, count, grain};
    if (const ParallelRegion region = openmp_region()) {
        region(Task::run, &task, static_cast<unsigned>(task.useful_threads(threads)), 0);
    } else if (!pool().try_run(task, threads)) {
        function(body, 0, count);
    }
}

}  // namespace ibrl::detail
