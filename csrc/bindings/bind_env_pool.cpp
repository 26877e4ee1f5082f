// Python face of the environment pool: arrays in and out, nothing computed here. ibrl_fast/envs/env_pool.py
// wraps it.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>

#include "bindings/pool_batch.h"
#include "bindings/pool_call.h"
#include "bindings/pool_errors.h"
#include "bindings/pool_options.h"
#include "bindings/pool_state.h"
#include "env_pool/env_pool.h"
#include "env_pool/mujoco_library.h"

namespace py = pybind11;

namespace ibrl::bindings {
namespace {

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

void reset(const PyEnvPool& self, const std::vector<int>& envs, const py::list& seeds, const py::list& starts,
           const PyBatch& batch) {
    const PyEnvPool::Call pool(self);
    check_envs(*pool, envs, true);
    batch.check(*pool, pool->num_envs(), false);
    if (seeds.size() != envs.size() || starts.size() != envs.size()) {
        throw std::invalid_argument("reset: expected a seed and a start (or None) for each environment");
    }
    std::vector<ResetRequest> requests;
    std::vector<std::vector<double>> vectors(envs.size());
    for (std::size_t i = 0; i < envs.size(); ++i) {
        ResetRequest request;
        request.env = envs[i];
        if (!seeds[i].is_none()) request.seed = py::cast<Pcg64::Words>(seeds[i]);
        if (!starts[i].is_none()) {
            vectors[i] = py::cast<std::vector<double>>(starts[i]);
            request.start = vectors[i].data();
            if (static_cast<int>(vectors[i].size()) != pool->start_dim()) {
                throw std::invalid_argument("rand_vec: expected " + std::to_string(pool->start_dim()) +
                                            " numbers, got " + std::to_string(vectors[i].size()));
            }
        }
        requests.push_back(request);
    }
    Unlocked unlocked;
    pool->reset(requests, batch.batch());
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
    pool->step(data, batch.batch());
    const auto any = [envs = pool->num_envs()](const std::uint8_t* flags) {
        return std::any_of(flags, flags + envs, [](std::uint8_t flag) { return flag != 0; });
    };
    return any(batch.batch().terminated) || any(batch.batch().truncated);
}

void observe(const PyEnvPool& self, const py::list& stacks, const PyBatch& batch) {
    const PyEnvPool::Call pool(self);
    batch.check(*pool, pool->num_envs(), false);
    const int keys = pool->num_keys();
    if (static_cast<int>(stacks.size()) != keys) {
        throw std::invalid_argument("stacks: expected " + std::to_string(keys) + ", got " +
                                    std::to_string(stacks.size()));
    }
    std::vector<const std::uint8_t*> frames;
    for (int key = 0; key < keys; ++key) {
        frames.push_back(nullptr);
        if (stacks[key].is_none()) continue;
        const auto stack = py::cast<py::array>(stacks[key]);
        frames.back() = data_of<std::uint8_t>(stack, "stack");
        if (static_cast<std::size_t>(stack.nbytes()) != pool->stack_bytes(key)) {
            throw std::invalid_argument("stacks: expected " + std::to_string(pool->stack_bytes(key)) +
                                        " bytes, got " + std::to_string(stack.nbytes()));
        }
    }
    Unlocked unlocked;
    pool->observe(frames, batch.batch());
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

py::dict get_state(const PyEnvPool& self, int env) {
    const PyEnvPool::Call pool(self);
    check_envs(*pool, {env}, true);
    return state_to_dict(pool->get_state(env));
}

void set_state(const PyEnvPool& self, int env, const py::dict& given) {
    const PyEnvPool::Call pool(self);
    check_envs(*pool, {env}, true);
    const EnvState state = state_from_dict(given);
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
            received = pool->recv(count, 50, batch.batch(), &envs);
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

}  // namespace
}  // namespace ibrl::bindings

void bind_env_pool(py::module_& m) {
    using namespace ibrl;
    using namespace ibrl::bindings;
    py::register_local_exception_translator(&translate_pool_error);
    Unlocked::begin();
    py::module_::import("atexit").attr("register")(py::cpp_function(&Unlocked::end));

    m.def("load_mujoco", &load_mujoco);
    m.def("mujoco_version", &mujoco_version);
    m.def("list_native_tasks", &list_native_tasks);
    py::class_<PyBatch>(m, "EnvBatch").def(py::init<const py::dict&, const py::list&, const py::list&>());

    py::class_<PyEnvPool>(m, "EnvPool")
        .def(py::init(
            [](const py::dict& options) { return std::make_unique<PyEnvPool>(read_pool_options(options)); }))
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
                pool->set_home(batch.batch());
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
        .def_property_readonly("start_dim",
                               [](const PyEnvPool& self) { return PyEnvPool::Call(self)->start_dim(); })
        .def_property_readonly("render_info", [](const PyEnvPool& self) {
            const PyEnvPool::Call pool(self);
            const RenderInfo& info = pool->render_info();
            return py::make_tuple(info.platform, info.device, info.is_software);
        });
}
