// Exponential moving average of many tensors at once: target = rho * target + (1 - rho) * online, in place.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace ibrl {

struct PolyakTensor {
    void* target;        // [count] T
    const void* online;  // [count] T
    int64_t count;
};

struct PolyakUpdateArgs {
    const PolyakTensor* tensors;  // [num_tensors], in host memory
    int64_t num_tensors;
    double rho;
    bool is_float64;  // T is double, otherwise float
};

// Three roundings on every device, in T.
template <typename T>
IBRL_HD inline T polyak(T target, T online, T rho, T one_minus_rho) {
    return multiply_then_add(rho, target, one_minus_rho * online);
}

void polyak_update_cpu(const PolyakUpdateArgs& args, int threads);
void polyak_update_cuda(const PolyakUpdateArgs& args, int device, void* stream);

}  // namespace ibrl
