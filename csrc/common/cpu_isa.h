// Which instruction set the CPU kernels may use, asked once
// at run time: the built library runs on any x86-64 machine.
#pragma once

namespace ibrl {

enum class CpuIsa { portable, avx2, avx512 };

inline CpuIsa detect_cpu_isa() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return CpuIsa::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return CpuIsa::avx2;
#endif
    return CpuIsa::portable;
}

// The detected set; tests set it to a narrower one to run every path on one machine.
inline CpuIsa& cpu_isa() {
    static CpuIsa isa = detect_cpu_isa();
    return isa;
}

}  // namespace ibrl

// Compile one function for a given set; the always_inline body that it calls is then vectorised for that set.
#if defined(__x86_64__)
#define IBRL_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define IBRL_TARGET_AVX512 \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")))
#else
#define IBRL_TARGET_AVX2
#define IBRL_TARGET_AVX512
#endif
#define IBRL_ALWAYS_INLINE inline __attribute__((always_inline))
