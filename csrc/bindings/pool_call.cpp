#include "bindings/pool_call.h"

#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>

#include "env_pool/errors.h"
#include "env_pool/mujoco_library.h"

namespace py = pybind11;

namespace ibrl::bindings {
namespace {

std::atomic<int> running{0};
bool is_ending = false;  // both with Python's lock held
std::thread::id main_thread;

}  // namespace

Unlocked::Unlocked() {
    if (is_ending && std::this_thread::get_id() != main_thread) {
        throw InterpreterEnding("pool: the interpreter is ending");
    }
    ++running;
    state_ = PyEval_SaveThread();
}

Unlocked::~Unlocked() {
    PyEval_RestoreThread(state_);
    --running;
}

// A forked child has none of the threads that were in a call.
void Unlocked::begin() {
    pthread_atfork(nullptr, nullptr, [] { running = 0; });
}

void Unlocked::end() {
    is_ending = true;
    main_thread = std::this_thread::get_id();
    while (running > 0) {
        py::gil_scoped_release release;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

PyEnvPool::PyEnvPool(const PoolOptions& options) : owner_(getpid()) {
    require_mujoco();
    Unlocked unlocked;
    pool_ = std::make_unique<EnvPool>(options);
}

PyEnvPool::~PyEnvPool() {
    if (getpid() != owner_) {
        (void)pool_.release();
    } else if (pool_) {
        try {
            close();
        } catch (const std::exception&) {
            (void)pool_.release();
        }
    }
}

void PyEnvPool::close() {
    if (getpid() != owner_) return;
    const std::thread::id me = std::this_thread::get_id();
    if (user_ == me) throw PoolInUseError("close: expected a pool at rest, got one in a call of this thread");
    Unlocked unlocked;
    std::thread::id nobody;
    while (!user_.compare_exchange_strong(nobody, me)) {
        nobody = {};
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    pool_.reset();
    user_ = std::thread::id();
}

PyEnvPool::Call::Call(const PyEnvPool& self) : self_(self) {
    if (getpid() != self.owner_) {
        throw PoolInUseError("pool: expected the process that made it, got a fork; make a pool in the child");
    }
    std::thread::id nobody;
    if (!self.user_.compare_exchange_strong(nobody, std::this_thread::get_id())) {
        throw PoolInUseError("pool: expected one call at a time, got another while one is under way");
    }
    if (!self.pool_) {
        self.user_ = std::thread::id();
        throw std::runtime_error("pool: expected an open pool, got one that was closed");
    }
}

}  // namespace ibrl::bindings
