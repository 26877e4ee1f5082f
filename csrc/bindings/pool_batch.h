// Arrays of the caller that receive a pool's results.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "env_pool/env_pool.h"

namespace ibrl::bindings {

// Address of a contiguous array's numbers; std::invalid_argument for another dtype or layout.
template <typename T>
T* data_of(const pybind11::array& array, const char* name) {
    if (!pybind11::isinstance<pybind11::array_t<T, pybind11::array::c_style>>(array)) {
        throw std::invalid_argument(std::string(name) + ": expected a contiguous array of another dtype");
    }
    return static_cast<T*>(const_cast<void*>(array.data()));
}

// Kept alive as long as the pool may write to them.
class PyBatch {
  public:
    // results: by the names of Batch's members; obs and final_obs: by observation key, the latter may be empty.
    PyBatch(const pybind11::dict& results, const pybind11::list& obs, const pybind11::list& final_obs);

    // Throws unless the pool can write that many rows here; steps: with all that a step gives.
    void check(const EnvPool& pool, int rows, bool steps) const;

    const Batch& batch() const { return batch_; }

  private:
    template <typename T>
    T* find(const pybind11::dict& results, const char* name);
    std::uint8_t* add(const pybind11::handle& observation, std::vector<pybind11::array>* arrays);

    Batch batch_;
    std::vector<pybind11::array> kept_, obs_, final_obs_;
    pybind11::ssize_t result_rows_ = std::numeric_limits<pybind11::ssize_t>::max();
};

}  // namespace ibrl::bindings
