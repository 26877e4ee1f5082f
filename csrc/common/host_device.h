// Lets one inline function serve the CPU and the CUDA kernels with the same rounding.
#pragma once

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

}  // namespace ibrl
