// Python face of the environment pool: arrays in and out, nothing computed here. ibrl_fast/envs/env_pool.py
// wraps it.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>

#include "env_pool/env_pool.h"

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
        }
        for (const py::handle& image : final_images) {
            batch.final_images.push_back(data_of<std::uint8_t>(py::cast<py::array>(image), "final image"));
        }
    }

    template <typename T>
    T* find(const char* name) const {
        return arrays.contains(name) ? data_of<T>(py::cast<py::array>(arrays[name]), name) : nullptr;
    }
};

// The pool with what Python adds: closing, and a process that must be the one that made it.
class PyEnvPool {
  public:
    explicit PyEnvPool(const ibrl::PoolOptions& options) : owner_(getpid()) {
        py::gil_scoped_release release;
        pool_ = std::make_unique<EnvPool>(options);
    }

    // A forked child has none of the threads: it drops the pool without touching it.
    ~PyEnvPool() {
        if (getpid() != owner_) {
            (void)pool_.release();
        } else {
            close();
        }
    }

    void close() {
        if (getpid() != owner_) return;
        py::gil_scoped_release release;
        pool_.reset();
    }

    EnvPool& get() const {
        if (getpid() != owner_) {
            throw std::runtime_error(
                "pool: expected the process that made it, got a fork; make a pool in the child");
        }
        if (!pool_) throw std::runtime_error("pool: expected an open pool, got one that was closed");
        return *pool_;
    }

  private:
    pid_t owner_;
    std::unique_ptr<EnvPool> pool_;
};

using Actions = py::array_t<float, py::array::c_style>;

void reset(const PyEnvPool& self, const std::vector<int>& envs, const py::list& seeds,
           const py::list& rand_vecs, const PyBatch& batch) {
    EnvPool& pool = self.get();
    std::vector<ibrl::ResetRequest> requests;
    std::vector<std::vector<double>> vectors(envs.size());
    for (std::size_t i = 0; i < envs.size(); ++i) {
        ibrl::ResetRequest request;
        request.env = envs[i];
        if (!seeds[i].is_none()) request.seed = py::cast<ibrl::Pcg64::Words>(seeds[i]);
        if (!rand_vecs[i].is_none()) {
            vectors[i] = py::cast<std::vector<double>>(rand_vecs[i]);
            request.rand_vec = vectors[i].data();
        }
        requests.push_back(request);
    }
    py::gil_scoped_release release;
    pool.reset(requests, batch.batch);
}

py::array entry_array(const ibrl::StateEntry& entry) {
    using Kind = ibrl::StateEntry::Kind;
    if (entry.kind == Kind::uint64) return py::array_t<std::uint64_t>(entry.shape, entry.words.data());
    if (entry.kind == Kind::float64) return py::array_t<double>(entry.shape, entry.values.data());
    std::vector<std::int64_t> integers(entry.values.begin(), entry.values.end());
    return py::array_t<std::int64_t>(entry.shape, integers.data());
}

py::dict get_state(const PyEnvPool& self, int env) {
    const ibrl::EnvState state = self.get().get_state(env);
    py::dict result;
    for (const ibrl::StateEntry& entry : state.entries) result[py::str(entry.name)] = entry_array(entry);
    result["elapsed_steps"] = state.elapsed_steps;
    result["episode_return"] = state.episode_return;
    result["needs_reset"] = state.needs_reset;
    return result;
}

void set_state(const PyEnvPool& self, int env, const py::dict& given) {
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
                entry.values.assign(array.data(), array.data() + array.size());
            }
            state.entries.push_back(std::move(entry));
        }
    }
    py::gil_scoped_release release;
    self.get().set_state(env, state);
}

// Waits in slices so that Ctrl-C is heard.
std::vector<int> recv(const PyEnvPool& self, int count, const PyBatch& batch) {
    std::vector<int> envs;
    for (;;) {
        bool received = false;
        {
            py::gil_scoped_release release;
            received = self.get().recv(count, 50, batch.batch, &envs);
        }
        if (received) return envs;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    }
}

py::array_t<std::uint8_t> render_frames(const PyEnvPool& self, const std::vector<int>& envs,
                                        const std::string& camera, int size) {
    py::array_t<std::uint8_t> pixels({static_cast<py::ssize_t>(envs.size()), static_cast<py::ssize_t>(size),
                                      static_cast<py::ssize_t>(size), static_cast<py::ssize_t>(3)});
    std::uint8_t* data = pixels.mutable_data();
    py::gil_scoped_release release;
    self.get().render_frames(envs, camera, size, data);
    return pixels;
}

ibrl::Autoreset parse_autoreset(const std::string& name) {
    if (name == "same_step") return ibrl::Autoreset::same_step;
    if (name == "next_step") return ibrl::Autoreset::next_step;
    if (name == "disabled") return ibrl::Autoreset::disabled;
    throw std::invalid_argument("autoreset: expected same_step, next_step or disabled, got " + name);
}

}  // namespace

void bind_env_pool(py::module_& m) {
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
                         int render_device) {
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
                 options.render = {cameras, height,      width,       channels_last,
                                   shadows, shadow_size, multisample, render_device};
                 return std::make_unique<PyEnvPool>(options);
             }),
             py::kw_only(), py::arg("task"), py::arg("assets"), py::arg("num_envs"), py::arg("num_threads"),
             py::arg("action_repeat"), py::arg("max_episode_steps"), py::arg("dense"),
             py::arg("terminate_on_success"), py::arg("fixed_goals"), py::arg("autoreset"),
             py::arg("settle_ahead"), py::arg("state_stack"), py::arg("image_stack"), py::arg("cameras"),
             py::arg("camera_positions"), py::arg("camera_quaternions"), py::arg("height"), py::arg("width"),
             py::arg("channels_last"), py::arg("shadows"), py::arg("shadow_size"), py::arg("multisample"),
             py::arg("render_device"))
        .def("reset", &reset)
        .def("step",
             // Whether an episode ended; None, and nothing is stepped, where an action is not finite.
             [](const PyEnvPool& self, const Actions& actions, const PyBatch& batch) -> std::optional<bool> {
                 EnvPool& pool = self.get();
                 const float* data = actions.data();
                 const py::ssize_t size = actions.size();
                 if (!std::all_of(data, data + size, [](float x) { return std::isfinite(x); })) return {};
                 py::gil_scoped_release release;
                 pool.step(data, batch.batch);
                 const auto any = [envs = actions.shape(0)](const std::uint8_t* flags) {
                     return std::any_of(flags, flags + envs, [](std::uint8_t flag) { return flag != 0; });
                 };
                 return any(batch.batch.terminated) || any(batch.batch.truncated);
             })
        .def("observe",
             [](const PyEnvPool& self, const py::list& stacks, const PyBatch& batch) {
                 EnvPool& pool = self.get();
                 std::vector<const std::uint8_t*> frames;
                 for (const py::handle& stack : stacks) {
                     frames.push_back(stack.is_none()
                                          ? nullptr
                                          : data_of<std::uint8_t>(py::cast<py::array>(stack), "stack"));
                 }
                 py::gil_scoped_release release;
                 pool.observe(frames, batch.batch);
             })
        .def("get_stack",
             [](const PyEnvPool& self, int key) {
                 py::array_t<std::uint8_t> frames(static_cast<py::ssize_t>(self.get().stack_bytes(key)));
                 self.get().get_stack(key, frames.mutable_data());
                 return frames;
             })
        .def(
            "set_home", [](const PyEnvPool& self, const PyBatch& batch) { self.get().set_home(batch.batch); },
            py::keep_alive<1, 2>())
        .def("send",
             [](const PyEnvPool& self, const Actions& actions, const std::vector<int>& envs) {
                 EnvPool& pool = self.get();
                 const float* data = actions.data();
                 py::gil_scoped_release release;
                 pool.send(data, envs);
             })
        .def("recv", &recv)
        .def("get_state", &get_state)
        .def("set_state", &set_state)
        .def("render_frames", &render_frames)
        .def("close", &PyEnvPool::close)
        .def_property_readonly("in_flight", [](const PyEnvPool& self) { return self.get().in_flight(); })
        .def_property_readonly("camera_names",
                               [](const PyEnvPool& self) { return self.get().camera_names(); })
        .def_property_readonly("observation_dim",
                               [](const PyEnvPool& self) { return self.get().observation_dim(); })
        .def_property_readonly("rand_vec_dim",
                               [](const PyEnvPool& self) { return self.get().rand_vec_dim(); })
        .def_property_readonly("render_info", [](const PyEnvPool& self) {
            const ibrl::RenderInfo& info = self.get().render_info();
            return py::make_tuple(info.platform, info.device, info.is_software);
        });
}
