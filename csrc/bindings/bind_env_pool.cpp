// Python face of the environment pool: arrays in and out, nothing computed here. ibrl_fast/envs/env_pool.py
// wraps it.
#include <pthread.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <thread>

#include "env_pool/env_pool.h"
#include "env_pool/errors.h"
#include "env_pool/mujoco_library.h"

namespace py = pybind11;

namespace {

using ibrl::EnvPool;

template <typename T>
T* data_of(const py::array& array, const char* name) {
    if (!py::isinstance<py::array_t<T, py::array::c_style>>(array)) {
        throw std::invalid_argument(std::string(name) + ": expected a contiguous array of another dtype");
    }
    return static_cast<T*>(const_cast<void*>(array.data()));
}

// Arrays that receive results, kept alive as long as the pool may write to them.
struct PyBatch {
    ibrl::Batch batch;
    py::dict arrays;
    py::list images, final_images;

    PyBatch(py::dict given, py::list image_list, py::list final_image_list)
        : arrays(std::move(given)), images(std::move(image_list)), final_images(std::move(final_image_list)) {
        batch.state = find<float>("state");
        batch.final_state = find<float>("final_state");
        batch.reward = find<float>("reward");
        batch.terminated = find<std::uint8_t>("terminated");
        batch.truncated = find<std::uint8_t>("truncated");
        batch.success = find<std::uint8_t>("success");
        batch.diverged = find<std::uint8_t>("diverged");
        batch.elapsed_steps = find<std::int64_t>("elapsed_steps");
        batch.episode_return = find<double>("episode_return");
        for (const py::handle& image : images) {
            batch.images.push_back(data_of<std::uint8_t>(py::cast<py::array>(image), "image"));
            image_bytes.push_back(py::cast<py::array>(image).nbytes());
        }
        for (const py::handle& image : final_images) {
            batch.final_images.push_back(data_of<std::uint8_t>(py::cast<py::array>(image), "final image"));
            image_bytes.push_back(py::cast<py::array>(image).nbytes());
        }
    }

    // Whether the pool can write that many rows here; steps: with all that a step gives.
    void check(const EnvPool& pool, int rows, bool steps) const {
        const auto holds = [rows](py::ssize_t bytes, std::size_t row) {
            return static_cast<std::size_t>(bytes) >= rows * row;
        };
        const std::size_t cameras = pool.num_cameras();
        bool fits = (batch.images.empty() || batch.images.size() == cameras) &&
                    (batch.final_images.empty() || batch.final_images.size() == cameras);
        for (std::size_t i = 0; fits && i < image_bytes.size(); ++i) {
            fits = holds(image_bytes[i], pool.row_bytes(1 + static_cast<int>(i % cameras)));
        }
        if (batch.state != nullptr) fits = fits && holds(state_bytes, pool.row_bytes(0));
        if (batch.final_state != nullptr) fits = fits && holds(final_state_bytes, pool.row_bytes(0));
        if (steps) fits = fits && result_rows >= rows;
        if (!fits)
            throw std::invalid_argument("batch: expected " + std::to_string(rows) + " rows of each result");
    }

  private:
    template <typename T>
    T* find(const char* name) {
        if (!arrays.contains(name)) {
            if (!std::strstr(name, "state")) result_rows = 0;
            return nullptr;
        }
        const auto array = py::cast<py::array>(arrays[name]);
        if (!std::strcmp(name, "state")) {
            state_bytes = array.nbytes();
        } else if (!std::strcmp(name, "final_state")) {
            final_state_bytes = array.nbytes();
        } else {
            result_rows = std::min(result_rows, array.size());
        }
        return data_of<T>(array, name);
    }

    py::ssize_t state_bytes = 0, final_state_bytes = 0;
    py::ssize_t result_rows = std::numeric_limits<py::ssize_t>::max();
    std::vector<py::ssize_t> image_bytes;  // of images, then of final_images
};

// Calls that run without Python's lock. The interpreter's end waits for them: a thread that comes back to an
// ended interpreter is unwound through C++, which aborts the process.
class Unlocked {
  public:
    Unlocked() {
        if (is_ending && std::this_thread::get_id() != main_thread) {
            throw ibrl::InterpreterEnding("pool: the interpreter is ending");
        }
        ++running;
        state_ = PyEval_SaveThread();
    }
    ~Unlocked() {
        PyEval_RestoreThread(state_);
        --running;
    }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

    // At import: a forked child has none of the threads that were in a call.
    static void begin() {
        pthread_atfork(nullptr, nullptr, [] { running = 0; });
    }

    static void end() {
        is_ending = true;
        main_thread = std::this_thread::get_id();
        while (running > 0) {
            py::gil_scoped_release release;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }

  private:
    static inline std::atomic<int> running{0};
    static inline bool is_ending = false;  // both with Python's lock held
    static inline std::thread::id main_thread;
    PyThreadState* state_;
};

// The pool with what Python adds: closing, one thread at a time, and a process that must be the one that made
// it.
class PyEnvPool {
  public:
    explicit PyEnvPool(const ibrl::PoolOptions& options) : owner_(getpid()) {
        ibrl::require_mujoco();
        Unlocked unlocked;
        pool_ = std::make_unique<EnvPool>(options);
    }

    // A forked child has none of the threads: it drops the pool without touching it. Nobody else can be using
    // it.
    ~PyEnvPool() {
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

    // Waits for another thread's call to end.
    void close() {
        if (getpid() != owner_) return;
        const std::thread::id me = std::this_thread::get_id();
        if (user_ == me)
            throw ibrl::PoolInUseError("close: expected a pool at rest, got one in a call of this thread");
        Unlocked unlocked;
        std::thread::id nobody;
        while (!user_.compare_exchange_strong(nobody, me)) {
            nobody = {};
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
        pool_.reset();
        user_ = std::thread::id();
    }

    // One call; the thread that makes it is the pool's only user while it lasts.
    class Call {
      public:
        explicit Call(const PyEnvPool& self) : self_(self) {
            if (getpid() != self.owner_) {
                throw ibrl::PoolInUseError(
                    "pool: expected the process that made it, got a fork; make a pool in the child");
            }
            std::thread::id nobody;
            if (!self.user_.compare_exchange_strong(nobody, std::this_thread::get_id())) {
                throw ibrl::PoolInUseError(
                    "pool: expected one call at a time, got another while one is under way");
            }
            if (!self.pool_) {
                self.user_ = std::thread::id();
                throw std::runtime_error("pool: expected an open pool, got one that was closed");
            }
        }
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

void check_envs(const EnvPool& pool, const std::vector<int>& envs, bool are_different) {
    std::vector<bool> seen(pool.num_envs(), false);
    for (int env : envs) {
        if (env < 0 || env >= pool.num_envs() || (are_different && seen[env])) {
            throw std::invalid_argument("envs: expected different numbers from 0 to " +
                                        std::to_string(pool.num_envs() - 1) + ", got " + std::to_string(env));
        }
        seen[env] = true;
    }
}

using Actions = py::array_t<float, py::array::c_style>;

void check_actions(const EnvPool& pool, const Actions& actions, std::size_t rows) {
    if (actions.ndim() == 2 && static_cast<std::size_t>(actions.shape(0)) == rows &&
        actions.shape(1) == pool.action_dim()) {
        return;
    }
    throw std::invalid_argument("actions: expected [" + std::to_string(rows) + ", " +
                                std::to_string(pool.action_dim()) + "]");
}

void reset(const PyEnvPool& self, const std::vector<int>& envs, const py::list& seeds,
           const py::list& rand_vecs, const PyBatch& batch) {
    const PyEnvPool::Call pool(self);
    check_envs(*pool, envs, true);
    batch.check(*pool, pool->num_envs(), false);
    if (seeds.size() != envs.size() || rand_vecs.size() != envs.size()) {
        throw std::invalid_argument("reset: expected a seed and a rand_vec (or None) for each environment");
    }
    std::vector<ibrl::ResetRequest> requests;
    std::vector<std::vector<double>> vectors(envs.size());
    for (std::size_t i = 0; i < envs.size(); ++i) {
        ibrl::ResetRequest request;
        request.env = envs[i];
        if (!seeds[i].is_none()) request.seed = py::cast<ibrl::Pcg64::Words>(seeds[i]);
        if (!rand_vecs[i].is_none()) {
            vectors[i] = py::cast<std::vector<double>>(rand_vecs[i]);
            request.rand_vec = vectors[i].data();
            if (static_cast<int>(vectors[i].size()) != pool->rand_vec_dim()) {
                throw std::invalid_argument("rand_vec: expected " + std::to_string(pool->rand_vec_dim()) +
                                            " numbers, got " + std::to_string(vectors[i].size()));
            }
        }
        requests.push_back(request);
    }
    Unlocked unlocked;
    pool->reset(requests, batch.batch);
}

// Whether an episode ended; None, and nothing is stepped, where an action is not finite.
std::optional<bool> step(const PyEnvPool& self, const Actions& actions, const PyBatch& batch) {
    const PyEnvPool::Call pool(self);
    check_actions(*pool, actions, pool->num_envs());
    batch.check(*pool, pool->num_envs(), true);
    const float* data = actions.data();
    const py::ssize_t size = actions.size();
    if (!std::all_of(data, data + size, [](float x) { return std::isfinite(x); })) return {};
    Unlocked unlocked;
    pool->step(data, batch.batch);
    const auto any = [envs = pool->num_envs()](const std::uint8_t* flags) {
        return std::any_of(flags, flags + envs, [](std::uint8_t flag) { return flag != 0; });
    };
    return any(batch.batch.terminated) || any(batch.batch.truncated);
}

void observe(const PyEnvPool& self, const py::list& stacks, const PyBatch& batch) {
    const PyEnvPool::Call pool(self);
    batch.check(*pool, pool->num_envs(), false);
    const std::size_t keys = 1 + pool->num_cameras();
    if (stacks.size() != keys) {
        throw std::invalid_argument("stacks: expected " + std::to_string(keys) + ", got " +
                                    std::to_string(stacks.size()));
    }
    std::vector<const std::uint8_t*> frames;
    for (std::size_t key = 0; key < keys; ++key) {
        frames.push_back(nullptr);
        if (stacks[key].is_none()) continue;
        const auto stack = py::cast<py::array>(stacks[key]);
        frames.back() = data_of<std::uint8_t>(stack, "stack");
        if (static_cast<std::size_t>(stack.nbytes()) != pool->stack_bytes(static_cast<int>(key))) {
            throw std::invalid_argument("stacks: expected " +
                                        std::to_string(pool->stack_bytes(static_cast<int>(key))) +
                                        " bytes, got " + std::to_string(stack.nbytes()));
        }
    }
    Unlocked unlocked;
    pool->observe(frames, batch.batch);
}

void send(const PyEnvPool& self, const Actions& actions, const std::vector<int>& envs) {
    const PyEnvPool::Call pool(self);
    check_envs(*pool, envs, true);
    check_actions(*pool, actions, envs.size());
    if (!pool->has_home()) throw std::runtime_error("send: expected set_home before");
    const float* data = actions.data();
    Unlocked unlocked;
    pool->send(data, envs);
}

py::array entry_array(const ibrl::StateEntry& entry) {
    using Kind = ibrl::StateEntry::Kind;
    if (entry.kind == Kind::uint64) return py::array_t<std::uint64_t>(entry.shape, entry.words.data());
    if (entry.kind == Kind::float64) return py::array_t<double>(entry.shape, entry.values.data());
    std::vector<std::int64_t> integers(entry.values.begin(), entry.values.end());
    return py::array_t<std::int64_t>(entry.shape, integers.data());
}

py::dict get_state(const PyEnvPool& self, int env) {
    const PyEnvPool::Call pool(self);
    check_envs(*pool, {env}, true);
    const ibrl::EnvState state = pool->get_state(env);
    py::dict result;
    for (const ibrl::StateEntry& entry : state.entries) result[py::str(entry.name)] = entry_array(entry);
    result["elapsed_steps"] = state.elapsed_steps;
    result["episode_return"] = state.episode_return;
    result["needs_reset"] = state.needs_reset;
    return result;
}

void set_state(const PyEnvPool& self, int env, const py::dict& given) {
    const PyEnvPool::Call pool(self);
    check_envs(*pool, {env}, true);
    ibrl::EnvState state;
    for (const auto& [key, value] : given) {
        const std::string name = py::cast<std::string>(key);
        if (name == "elapsed_steps") {
            state.elapsed_steps = py::cast<std::int64_t>(value);
        } else if (name == "episode_return") {
            state.episode_return = py::cast<double>(value);
        } else if (name == "needs_reset") {
            state.needs_reset = py::cast<bool>(value);
        } else {
            ibrl::StateEntry entry;
            entry.name = name;
            if (name == "rng") {
                entry.words = py::cast<std::vector<std::uint64_t>>(value);
            } else {
                const auto array =
                    py::array_t<double, py::array::c_style | py::array::forcecast>::ensure(value);
                if (!array) throw std::invalid_argument("state['" + name + "']: expected numbers");
                entry.values.assign(array.data(), array.data() + array.size());
            }
            state.entries.push_back(std::move(entry));
        }
    }
    Unlocked unlocked;
    pool->set_state(env, state);
}

// Waits in slices so that Ctrl-C is heard.
std::vector<int> recv(const PyEnvPool& self, int count, const PyBatch& batch) {
    const PyEnvPool::Call pool(self);
    if (count < 1) throw std::invalid_argument("recv: expected at least 1, got " + std::to_string(count));
    if (!pool->has_home()) throw std::runtime_error("recv: expected send() before");
    batch.check(*pool, count, true);
    std::vector<int> envs;
    for (;;) {
        bool received = false;
        {
            Unlocked unlocked;
            received = pool->recv(count, 50, batch.batch, &envs);
        }
        if (received) return envs;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    }
}

py::array_t<std::uint8_t> render_frames(const PyEnvPool& self, const std::vector<int>& envs,
                                        const std::string& camera, int size, const std::string& platform,
                                        int device) {
    const PyEnvPool::Call pool(self);
    check_envs(*pool, envs, false);
    if (size < 1) throw std::invalid_argument("image_size: expected at least 1, got " + std::to_string(size));
    py::array_t<std::uint8_t> pixels({static_cast<py::ssize_t>(envs.size()), static_cast<py::ssize_t>(size),
                                      static_cast<py::ssize_t>(size), static_cast<py::ssize_t>(3)});
    std::uint8_t* data = pixels.mutable_data();
    Unlocked unlocked;
    pool->render_frames(envs, camera, size, platform, device, data);
    return pixels;
}

// Raises the package's own class of error, which lives in Python.
void raise(const char* module, const char* name, const char* message) {
    try {
        PyErr_SetString(py::module_::import(module).attr(name).ptr(), message);
    } catch (py::error_already_set&) {
        PyErr_SetString(PyExc_RuntimeError, message);
    }
}

void translate(std::exception_ptr error) {
    try {
        if (error) std::rethrow_exception(error);
    } catch (const ibrl::RenderingError& e) {
        raise("ibrl_fast.envs.rendering", "RenderingUnavailableError", e.what());
    } catch (const ibrl::RenderDeviceError& e) {
        raise("ibrl_fast.envs.rendering", "RenderDeviceError", e.what());
    } catch (const ibrl::PoolInUseError& e) {
        raise("ibrl_fast.envs.exclusive", "PoolInUseError", e.what());
    } catch (const ibrl::MujocoVersionError& e) {
        raise("ibrl_fast.envs.native_library", "MujocoVersionError", e.what());
    } catch (const ibrl::RandVecError& e) {
        raise("ibrl_fast.envs.checks", "RandVecError", e.what());
    } catch (const ibrl::InterpreterEnding& e) {
        PyErr_SetString(PyExc_SystemExit, e.what());  // ends a thread without a word
    } catch (const std::bad_alloc&) {
        raise("ibrl_fast.errors", "OutOfMemoryError",
              "pool: expected memory for it, got none; lower num_envs, image_size or frame_stack");
    } catch (const std::invalid_argument& e) {
        raise("ibrl_fast.errors", "ArgumentError", e.what());
    }
}

ibrl::Autoreset parse_autoreset(const std::string& name) {
    if (name == "same_step") return ibrl::Autoreset::same_step;
    if (name == "next_step") return ibrl::Autoreset::next_step;
    if (name == "disabled") return ibrl::Autoreset::disabled;
    throw std::invalid_argument("autoreset: expected same_step, next_step or disabled, got " + name);
}

}  // namespace

void bind_env_pool(py::module_& m) {
    py::register_local_exception_translator(&translate);
    Unlocked::begin();
    py::module_::import("atexit").attr("register")(py::cpp_function(&Unlocked::end));

    m.def("load_mujoco", &ibrl::load_mujoco);
    m.def("mujoco_version", &ibrl::mujoco_version);
    m.def("list_native_tasks", &ibrl::list_native_tasks);
    py::class_<PyBatch>(m, "EnvBatch").def(py::init<py::dict, py::list, py::list>());

    using Positions = std::vector<std::pair<std::string, std::array<double, 3>>>;
    using Quaternions = std::vector<std::pair<std::string, std::array<double, 4>>>;
    py::class_<PyEnvPool>(m, "EnvPool")
        .def(py::init([](const std::string& task, const std::string& assets, int num_envs, int num_threads,
                         int action_repeat, int max_episode_steps, bool dense, bool terminate_on_success,
                         bool fixed_goals, const std::string& autoreset, bool settle_ahead, int state_stack,
                         const std::vector<int>& image_stack, const std::vector<std::string>& cameras,
                         const Positions& camera_positions, const Quaternions& camera_quaternions, int height,
                         int width, bool channels_last, bool shadows, int shadow_size, int multisample,
                         const std::string& render_platform, int render_device) {
                 ibrl::PoolOptions options;
                 options.task = task;
                 options.assets = assets;
                 options.num_envs = num_envs;
                 options.num_threads = num_threads;
                 options.action_repeat = action_repeat;
                 options.max_episode_steps = max_episode_steps;
                 options.dense = dense;
                 options.terminate_on_success = terminate_on_success;
                 options.fixed_goals = fixed_goals;
                 options.autoreset = parse_autoreset(autoreset);
                 options.settle_ahead = settle_ahead;
                 options.state_stack = state_stack;
                 options.image_stack = image_stack;
                 options.camera_positions = camera_positions;
                 options.camera_quaternions = camera_quaternions;
                 options.render = {cameras,     height,      width,           channels_last, shadows,
                                   shadow_size, multisample, render_platform, render_device};
                 return std::make_unique<PyEnvPool>(options);
             }),
             py::kw_only(), py::arg("task"), py::arg("assets"), py::arg("num_envs"), py::arg("num_threads"),
             py::arg("action_repeat"), py::arg("max_episode_steps"), py::arg("dense"),
             py::arg("terminate_on_success"), py::arg("fixed_goals"), py::arg("autoreset"),
             py::arg("settle_ahead"), py::arg("state_stack"), py::arg("image_stack"), py::arg("cameras"),
             py::arg("camera_positions"), py::arg("camera_quaternions"), py::arg("height"), py::arg("width"),
             py::arg("channels_last"), py::arg("shadows"), py::arg("shadow_size"), py::arg("multisample"),
             py::arg("render_platform"), py::arg("render_device"))
        .def("reset", &reset)
        .def("step", &step)
        .def("observe", &observe)
        .def("get_stack",
             [](const PyEnvPool& self, int key) {
                 const PyEnvPool::Call pool(self);
                 py::array_t<std::uint8_t> frames(static_cast<py::ssize_t>(pool->stack_bytes(key)));
                 pool->get_stack(key, frames.mutable_data());
                 return frames;
             })
        .def(
            "set_home",
            [](const PyEnvPool& self, const PyBatch& batch) {
                const PyEnvPool::Call pool(self);
                batch.check(*pool, pool->num_envs(), true);
                pool->set_home(batch.batch);
            },
            py::keep_alive<1, 2>())
        .def("send", &send)
        .def("recv", &recv)
        .def("get_state", &get_state)
        .def("set_state", &set_state)
        .def("render_frames", &render_frames)
        .def("close", &PyEnvPool::close)
        .def_property_readonly("in_flight",
                               [](const PyEnvPool& self) { return PyEnvPool::Call(self)->in_flight(); })
        .def_property_readonly("camera_names",
                               [](const PyEnvPool& self) { return PyEnvPool::Call(self)->camera_names(); })
        .def_property_readonly("observation_dim",
                               [](const PyEnvPool& self) { return PyEnvPool::Call(self)->observation_dim(); })
        .def_property_readonly("rand_vec_dim",
                               [](const PyEnvPool& self) { return PyEnvPool::Call(self)->rand_vec_dim(); })
        .def_property_readonly("render_info", [](const PyEnvPool& self) {
            const PyEnvPool::Call pool(self);
            const ibrl::RenderInfo& info = pool->render_info();
            return py::make_tuple(info.platform, info.device, info.is_software);
        });
}
