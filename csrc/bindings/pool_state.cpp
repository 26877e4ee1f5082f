#include "bindings/pool_state.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace ibrl::bindings {
namespace {

py::array entry_array(const StateEntry& entry) {
    using Kind = StateEntry::Kind;
    if (entry.kind == Kind::uint64) return py::array_t<std::uint64_t>(entry.shape, entry.words.data());
    if (entry.kind == Kind::float64) return py::array_t<double>(entry.shape, entry.values.data());
    std::vector<std::int64_t> integers(entry.values.begin(), entry.values.end());
    return py::array_t<std::int64_t>(entry.shape, integers.data());
}

}  // namespace

py::dict state_to_dict(const EnvState& state) {
    py::dict result;
    for (const StateEntry& entry : state.entries) result[py::str(entry.name)] = entry_array(entry);
    result["elapsed_steps"] = state.elapsed_steps;
    result["episode_return"] = state.episode_return;
    result["needs_reset"] = state.needs_reset;
    return result;
}

EnvState state_from_dict(const py::dict& given) {
    EnvState state;
    for (const auto& [key, value] : given) {
        const std::string name = py::cast<std::string>(key);
        if (name == "elapsed_steps") {
            state.elapsed_steps = py::cast<std::int64_t>(value);
        } else if (name == "episode_return") {
            state.episode_return = py::cast<double>(value);
        } else if (name == "needs_reset") {
            state.needs_reset = py::cast<bool>(value);
        } else {
            StateEntry entry;
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
    return state;
}

}  // namespace ibrl::bindings
