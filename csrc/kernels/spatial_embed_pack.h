// 64 bytes of float or double as one value, for the CPU kernels of spatial_embed: the compiler makes one, two
// or four registers of it, as the instruction set allows. Functions of packs are always inlined (-Wno-psabi).
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "common/cpu_isa.h"
#include "common/dtype.h"

namespace ibrl {

template <typename V>
struct Pack;
template <>
struct Pack<float> {
    typedef float type __attribute__((vector_size(64)));
    static constexpr int64_t size = 16;
};
template <>
struct Pack<double> {
    typedef double type __attribute__((vector_size(64)));
    static constexpr int64_t size = 8;
};

typedef uint16_t Pack16 __attribute__((vector_size(32)));
typedef uint32_t Pack32 __attribute__((vector_size(64)));

// A pack, and the single value that the rest of a row needs, by the same name.
template <typename P, typename T>
IBRL_ALWAYS_INLINE P load(const T* from) {
    P value;
    if constexpr (sizeof(P) <= sizeof(double)) {
        value = convert_from<P>(*from);
    } else if constexpr (std::is_same_v<T, bfloat16>) {
        Pack16 bits;
        std::memcpy(&bits, from, sizeof bits);
        const Pack32 wide = __builtin_convertvector(bits, Pack32) << 16;
        std::memcpy(&value, &wide, sizeof value);
    } else {
        std::memcpy(&value, from, sizeof value);
    }
    return value;
}

template <typename P, typename T>
IBRL_ALWAYS_INLINE void store(T* to, P value) {
    if constexpr (sizeof(P) <= sizeof(double)) {
        *to = ConvertTo<T>::from(value);
    } else if constexpr (std::is_same_v<T, bfloat16>) {
        // to nearest even; a NaN becomes the quiet one
        Pack32 bits;
        std::memcpy(&bits, &value, sizeof bits);
        const Pack32 rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
        const Pack16 kept =
            __builtin_convertvector(value == value ? rounded : rounded * 0u + 0x7FC0u, Pack16);
        std::memcpy(to, &kept, sizeof kept);
    } else {
        std::memcpy(to, &value, sizeof value);
    }
}

// The sum of a pack's values, pairwise.
template <typename V>
IBRL_ALWAYS_INLINE V sum_of(typename Pack<V>::type pack) {
    V value[Pack<V>::size];
    std::memcpy(value, &pack, sizeof pack);
    for (int64_t half = Pack<V>::size / 2; half > 0; half /= 2)
        for (int64_t i = 0; i < half; ++i) value[i] += value[i + half];
    return value[0];
}

}  // namespace ibrl
