// One step of Adam (Kingma and Ba 2015, algorithm 1) on all tensors of a group whose values lie in one flat
// tensor, and the moving average of some of them in the same pass.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace ibrl {

struct AdamGradient {
    const void* gradient;  // [count] T, its elements in the order of the values
    int64_t offset;        // where its values begin in the flat tensors
    int64_t count;
};

struct AdamUpdateArgs {
    void* values;                   // [size] T
    void* exp_avg;                  // [size] T, mean of the gradients
    void* exp_avg_sq;               // [size] T, mean of their squares
    int64_t* step;                  // [1] steps done before, below 2^32 - 1; one more afterwards
    const AdamGradient* gradients;  // [num_gradients], in host memory
    int64_t num_gradients;
    void* target;          // [size - target_begin] T, moving average of the last values; or null
    int64_t target_begin;  // where a gradient begins
    double learning_rate, beta1, beta2, eps, rho;
    bool is_float64;  // T is double, otherwise float
};

// By squaring: the same bits on every device, which pow does not promise.
IBRL_HD inline double integer_power(double base, uint32_t exponent) {
    double power = 1.0;
    for (; exponent != 0; exponent >>= 1) {
        if (exponent & 1u) power *= base;
        base *= base;
    }
    return power;
}

// What all elements of one step share, rounded to T once.
template <typename T>
struct AdamStep {
    T beta1, rest1, beta2, rest2, eps;
    T step_size;  // learning_rate / (1 - beta1^step)
    T scale;      // 1 / sqrt(1 - beta2^step)

    IBRL_HD static AdamStep make(const AdamUpdateArgs& args, uint32_t steps_done) {
        const double correction1 = multiply_then_add(-1.0, integer_power(args.beta1, steps_done + 1), 1.0);
        const double correction2 = multiply_then_add(-1.0, integer_power(args.beta2, steps_done + 1), 1.0);
        return {static_cast<T>(args.beta1),
                static_cast<T>(1.0 - args.beta1),
                static_cast<T>(args.beta2),
                static_cast<T>(1.0 - args.beta2),
                static_cast<T>(args.eps),
                static_cast<T>(divide(args.learning_rate, correction1)),
                static_cast<T>(divide(1.0, square_root(correction2)))};
    }

    // One element, with the same roundings on every device.
    IBRL_HD inline void apply(T gradient, T& value, T& exp_avg, T& exp_avg_sq) const {
        exp_avg = multiply_then_add(beta1, exp_avg, rest1 * gradient);
        exp_avg_sq = multiply_then_add(beta2, exp_avg_sq, rest2 * gradient * gradient);
        const T denominator = multiply_then_add(square_root(exp_avg_sq), scale, eps);
        value = value - divide(step_size * exp_avg, denominator);
    }
};

// One element of a target network's moving average: three roundings on every device, in T.
template <typename T>
IBRL_HD inline T polyak(T target, T online, T rho, T one_minus_rho) {
    return multiply_then_add(rho, target, one_minus_rho * online);
}

int64_t adam_update_cpu(const AdamUpdateArgs& args, int threads);  // 0 where the step is out of range, or -1
void adam_update_cuda(const AdamUpdateArgs& args, int device, void* stream);

}  // namespace ibrl
