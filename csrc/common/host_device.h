// Lets one inline function serve the CPU and the CUDA kernels with the same rounding.
#pragma once

#include <cmath>

#ifdef __CUDACC__
#define IBRL_HD __host__ __device__
#define IBRL_UNROLL _Pragma("unroll")
#else
#define IBRL_HD
#define IBRL_UNROLL
#endif

namespace ibrl {

// a * b + c with two roundings on every device, so that no compiler fuses it into an FMA.
IBRL_HD inline float multiply_then_add(float a, float b, float c) {
#ifdef __CUDA_ARCH__
    return __fadd_rn(__fmul_rn(a, b), c);
#else
    return a * b + c;
#endif
}

IBRL_HD inline double multiply_then_add(double a, double b, double c) {
#ifdef __CUDA_ARCH__
    return __dadd_rn(__dmul_rn(a, b), c);
#else
    return a * b + c;
#endif
}

// Rounded as IEEE 754 says, whatever the compiler's options.
IBRL_HD inline float square_root(float x) {
#ifdef __CUDA_ARCH__
    return __fsqrt_rn(x);
#else
    return std::sqrt(x);
#endif
}

IBRL_HD inline double square_root(double x) {
#ifdef __CUDA_ARCH__
    return __dsqrt_rn(x);
#else
    return std::sqrt(x);
#endif
}

IBRL_HD inline float divide(float a, float b) {
#ifdef __CUDA_ARCH__
    return __fdiv_rn(a, b);
#else
    return a / b;
#endif
}

IBRL_HD inline double divide(double a, double b) {
#ifdef __CUDA_ARCH__
    return __ddiv_rn(a, b);
#else
    return a / b;
#endif
}

}  // namespace ibrl
