// Threads that take jobs from one queue; the caller may help. Which thread runs a job never changes its
// result. Threads without a job do idle work.
#pragma once

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

class WorkerThreads {
  public:
    // at_exit runs on every thread before it ends.
    WorkerThreads(int size, std::function<void(int thread)> at_exit);

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
    void run(int thread);

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Job> queue_;
    std::deque<std::function<bool()>> idle_;
    bool stopping_ = false;
    std::function<void(int)> at_exit_;
    std::vector<std::thread> threads_;
};

}  // namespace ibrl
