#include "env_pool/worker_threads.h"

#include <csignal>
#include <stdexcept>
#include <string>

namespace ibrl {

using namespace std::chrono_literals;

WorkerThreads::WorkerThreads(int size, bool waits_briefly, std::function<void(int)> at_exit)
    : waits_briefly_(waits_briefly), at_exit_(std::move(at_exit)) {
    // Signals such as Ctrl-C are the main thread's.
    sigset_t all, saved;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &saved);
    threads_.reserve(size);
    std::string problem;
    try {
        for (int thread = 0; thread < size; ++thread) threads_.emplace_back([this, thread] { run(thread); });
    } catch (const std::exception& error) {
        problem = error.what();
    }
    pthread_sigmask(SIG_SETMASK, &saved, nullptr);
    if (problem.empty()) return;
    const std::size_t started = threads_.size();
    join();
    throw std::invalid_argument("num_threads: expected at most the " + std::to_string(started) +
                                " threads that the system allows, got " + std::to_string(size) + " (" +
                                problem + ")");
}

WorkerThreads::~WorkerThreads() {
    join();
}

void WorkerThreads::join() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
}

void WorkerThreads::add(std::vector<Job> jobs) {
    const std::size_t count = jobs.size();
    {
        std::lock_guard lock(mutex_);
        for (Job& job : jobs) queue_.push_back(std::move(job));
        waiting_jobs_ = static_cast<int>(queue_.size());
    }
    // Waking more threads than there are jobs only costs time.
    if (count >= threads_.size()) {
        wake_.notify_all();
    } else {
        for (std::size_t i = 0; i < count; ++i) wake_.notify_one();
    }
}

void WorkerThreads::add_idle(std::function<bool()> work) {
    {
        std::lock_guard lock(mutex_);
        idle_.push_back(std::move(work));
    }
    wake_.notify_one();
}

void WorkerThreads::help() {
    for (;;) {
        Job job;
        {
            std::lock_guard lock(mutex_);
            if (queue_.empty()) return;
            job = take();
        }
        job(-1);
    }
}

Job WorkerThreads::take() {
    Job job = std::move(queue_.front());
    queue_.pop_front();
    waiting_jobs_ = static_cast<int>(queue_.size());
    return job;
}

void WorkerThreads::run(int thread) {
    bool had_job = false;  // the last time round; another often follows at once
    for (;;) {
        Job job;
        std::function<bool()> work;
        if (waits_briefly_ && had_job) wait_briefly(40us, [this] { return waiting_jobs_ > 0; });
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return stopping_ || !queue_.empty() || !idle_.empty(); });
            if (!queue_.empty()) {
                job = take();
            } else if (stopping_) {
                break;
            } else {
                work = std::move(idle_.front());
                idle_.pop_front();
            }
        }
        had_job = static_cast<bool>(job);
        if (had_job) {
            job(thread);
        } else if (work()) {
            std::lock_guard lock(mutex_);
            idle_.push_front(std::move(work));
        }
    }
    at_exit_(thread);
}

}  // namespace ibrl
