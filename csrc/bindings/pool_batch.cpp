#include "bindings/pool_batch.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace ibrl::bindings {

PyBatch::PyBatch(const py::dict& results, const py::list& obs, const py::list& final_obs) {
    batch_.reward = find<float>(results, "reward");
    batch_.terminated = find<std::uint8_t>(results, "terminated");
    batch_.truncated = find<std::uint8_t>(results, "truncated");
    batch_.success = find<std::uint8_t>(results, "success");
    batch_.diverged = find<std::uint8_t>(results, "diverged");
    batch_.elapsed_steps = find<std::int64_t>(results, "elapsed_steps");
    batch_.episode_return = find<double>(results, "episode_return");
    if (kept_.size() != results.size()) {
        throw std::invalid_argument("results: expected the names of a step's results alone");
    }
    for (const py::handle& array : obs) batch_.obs.push_back(add(array, &obs_));
    for (const py::handle& array : final_obs) batch_.final_obs.push_back(add(array, &final_obs_));
}

template <typename T>
T* PyBatch::find(const py::dict& results, const char* name) {
    if (!results.contains(name)) {
        result_rows_ = 0;
        return nullptr;
    }
    kept_.push_back(py::cast<py::array>(results[name]));
    result_rows_ = std::min(result_rows_, kept_.back().size());
    return data_of<T>(kept_.back(), name);
}

std::uint8_t* PyBatch::add(const py::handle& observation, std::vector<py::array>* arrays) {
    arrays->push_back(py::cast<py::array>(observation));
    const py::array& array = arrays->back();
    // vectors are float32, pictures bytes
    if (py::isinstance<py::array_t<float>>(array)) {
        return reinterpret_cast<std::uint8_t*>(data_of<float>(array, "observation"));
    }
    return data_of<std::uint8_t>(array, "observation");
}

void PyBatch::check(const EnvPool& pool, int rows, bool steps) const {
    bool fits = !steps || result_rows_ >= rows;
    for (const auto* arrays : {&obs_, &final_obs_}) {
        fits = fits && (arrays->empty() || static_cast<int>(arrays->size()) == pool.num_keys());
        for (int key = 0; fits && key < static_cast<int>(arrays->size()); ++key) {
            const py::array& array = (*arrays)[key];
            fits = static_cast<std::size_t>(array.nbytes()) >= rows * pool.row_bytes(key) &&
                   (array.itemsize() == sizeof(float)) == pool.is_vector(key);
        }
    }
    if (!fits) {
        throw std::invalid_argument("batch: expected " + std::to_string(rows) + " rows of each result");
    }
}

}  // namespace ibrl::bindings
