// A pool's options by name.
#pragma once

#include <pybind11/pybind11.h>

#include "env_pool/pool_options.h"

namespace ibrl::bindings {

// std::invalid_argument names an option that is missing, unknown or of another type.
PoolOptions read_pool_options(const pybind11::dict& given);

}  // namespace ibrl::bindings
