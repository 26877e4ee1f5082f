// Element types that kernels read and write, with the conversions that torch makes (round to nearest even).
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "common/host_device.h"

namespace ibrl {

// The codes that Python passes; ibrl_fast/ops/_registry.py has the same table.
enum class DType : int { float32 = 0, float64 = 1, bfloat16 = 2, float16 = 3 };

struct bfloat16 {
    uint16_t bits;
};
struct float16 {
    uint16_t bits;
};

IBRL_HD inline float float_from_bits(uint32_t bits) {
#ifdef __CUDA_ARCH__
    return __uint_as_float(bits);
#else
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
#endif
}

IBRL_HD inline uint32_t bits_from_float(float value) {
#ifdef __CUDA_ARCH__
    return __float_as_uint(value);
#else
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
#endif
}

// Any element type to float or double.
template <typename To, typename From>
IBRL_HD inline To convert_from(From value) {
    return static_cast<To>(value);
}
template <typename To>
IBRL_HD inline To convert_from(bfloat16 value) {
    return static_cast<To>(float_from_bits(uint32_t{value.bits} << 16));
}
template <typename To>
IBRL_HD inline To convert_from(float16 value) {
    const uint32_t sign = uint32_t{value.bits & 0x8000u} << 16, rest = value.bits & 0x7FFFu;
    const uint32_t wide = rest << 13;
    // Infinity and NaN keep an all-ones exponent; everything
    // else is rescaled by 2^112, which subnormals need too.
    if (rest >= 0x7C00u) return static_cast<To>(float_from_bits(sign | wide | 0x7F800000u));
    return static_cast<To>(float_from_bits(sign | bits_from_float(float_from_bits(wide) * 0x1.0p112f)));
}

// float or double to an output element type.
template <typename To>
struct ConvertTo {
    template <typename From>
    IBRL_HD static To from(From value) {
        return static_cast<To>(value);
    }
};
template <>
struct ConvertTo<bfloat16> {
    IBRL_HD static bfloat16 from(float value) {
        const uint32_t bits = bits_from_float(value);
        const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
        return {static_cast<uint16_t>(value == value ? rounded : 0x7FC0u)};
    }
};

// Calls visit(T{}) for the element type that a code names.
template <typename Visit>
void visit_dtype(DType dtype, Visit&& visit) {
    switch (dtype) {
        case DType::float32:
            return visit(float{});
        case DType::float64:
            return visit(double{});
        case DType::bfloat16:
            return visit(bfloat16{});
        case DType::float16:
            return visit(float16{});
    }
    throw std::invalid_argument("unknown dtype code");
}

}  // namespace ibrl
