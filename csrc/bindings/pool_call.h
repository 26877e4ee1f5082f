// Calls of a pool from Python: without Python's lock, by one thread at a time, in the process that made it.
#pragma once

#include <pybind11/pybind11.h>
#include <sys/types.h>

#include <atomic>
#include <memory>
#include <thread>

#include "env_pool/env_pool.h"

namespace ibrl::bindings {

// Calls that run without Python's lock. The interpreter's end waits for them: a thread that comes back to an
// ended interpreter is unwound through C++, which aborts the process.
class Unlocked {
  public:
    Unlocked();
    ~Unlocked();
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

    static void begin();  // at import
    static void end();    // at the interpreter's end

  private:
    PyThreadState* state_;
};

// The pool with what Python adds: closing, one thread at a time, and a process that must be the one that made
// it.
class PyEnvPool {
  public:
    explicit PyEnvPool(const PoolOptions& options);
    // A forked child has none of the threads: it drops the pool without touching it.
    ~PyEnvPool();

    // Waits for another thread's call to end.
    void close();

    // One call; the thread that makes it is the pool's only user while it lasts.
    class Call {
      public:
        explicit Call(const PyEnvPool& self);
        ~Call() { self_.user_ = std::thread::id(); }
        Call(const Call&) = delete;
        Call& operator=(const Call&) = delete;

        EnvPool& operator*() const { return *self_.pool_; }
        EnvPool* operator->() const { return self_.pool_.get(); }

      private:
        const PyEnvPool& self_;
    };

  private:
    pid_t owner_;
    mutable std::atomic<std::thread::id> user_{};
    std::unique_ptr<EnvPool> pool_;
};

}  // namespace ibrl::bindings
