// Threads that take jobs from one queue; the caller may help. Which thread runs a job never changes its
// result. Threads without a job do idle work.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace ibrl {

// Called with the index of the thread that runs it: 0 .. size - 1, or -1 for a helping caller. Must not
// throw.
using Job = std::function<void(int thread)>;

// Waits for a condition that often comes at once: being woken costs tens of microseconds, looking again does
// not. Returns at the latest after `limit`, whether it has come or not.
template <typename Condition>
void wait_briefly(std::chrono::microseconds limit, Condition&& has_come) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!has_come() && std::chrono::steady_clock::now() < end) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
}

class WorkerThreads {
  public:
    // at_exit runs on every thread before it ends. waits_briefly: threads look for the next job for a moment
    // before they sleep; for when each has a core. Errors: std::invalid_argument where the system has no
    // more.
    WorkerThreads(int size, bool waits_briefly, std::function<void(int thread)> at_exit);

    // Finishes the queued jobs, then joins.
    ~WorkerThreads();
    WorkerThreads(const WorkerThreads&) = delete;
    WorkerThreads& operator=(const WorkerThreads&) = delete;

    int size() const { return static_cast<int>(threads_.size()); }
    void add(std::vector<Job> jobs);

    // Work for when there are no jobs: called again and again, each time for a short while, until it says
    // false. What is left of it at the end is dropped. Must not throw.
    void add_idle(std::function<bool()> work);

    // Takes jobs on the calling thread until the queue is empty.
    void help();

  private:
    void join();
    void run(int thread);
    Job take();  // the next job; with the lock held

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Job> queue_;
    std::atomic<int> waiting_jobs_{0};  // queue_.size(), to be seen without the lock
    bool waits_briefly_;
    std::deque<std::function<bool()>> idle_;
    bool stopping_ = false;
    std::function<void(int)> at_exit_;
    std::vector<std::thread> threads_;
};

}  // namespace ibrl
