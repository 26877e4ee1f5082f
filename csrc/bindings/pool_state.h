// States of single environments as dictionaries of arrays.
#pragma once

#include <pybind11/pybind11.h>

#include "env_pool/pool_batch.h"

namespace ibrl::bindings {

pybind11::dict state_to_dict(const EnvState& state);

// std::invalid_argument for an entry that holds no numbers.
EnvState state_from_dict(const pybind11::dict& given);

}  // namespace ibrl::bindings
