#include <algorithm>

#include "common/cpu_isa.h"
#include "kernels/convert_pixels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ibrl {
namespace {

// One pixel at a time; the compiler vectorises it for the caller's instruction set.
template <typename T>
IBRL_ALWAYS_INLINE void convert_plain(const uint8_t* pixel, T* out, int64_t count, float scale,
                                      float offset) {
    for (int64_t i = 0; i < count; ++i)
        out[i] = ConvertTo<T>::from(multiply_then_add(static_cast<float>(pixel[i]), scale, offset));
}

template <typename T>
void convert_portable(const uint8_t* pixel, T* out, int64_t count, float scale, float offset, bool) {
    convert_plain(pixel, out, count, scale, offset);
}

#if defined(__x86_64__)

// Pixels before the first output address that streaming stores may use.
template <typename T>
int64_t pixels_to_alignment(const T* out, int64_t count, uintptr_t alignment) {
    const uintptr_t past = reinterpret_cast<uintptr_t>(out) % alignment;
    return std::min<int64_t>(count, past == 0 ? 0 : static_cast<int64_t>((alignment - past) / sizeof(T)));
}

IBRL_TARGET_AVX2 inline __m256 scaled8(const uint8_t* pixel, __m256 scale, __m256 offset) {
    const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(pixel)));
    return _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(wide), scale), offset);
}

template <typename T>
IBRL_TARGET_AVX2 void convert_avx2(const uint8_t* pixel, T* out, int64_t count, float scale, float offset,
                                   bool stream) {
    int64_t i = 0;
    if constexpr (sizeof(T) == 4) {
        if (stream) {
            i = pixels_to_alignment(out, count, 32);
            convert_plain(pixel, out, i, scale, offset);
            const __m256 s = _mm256_set1_ps(scale), o = _mm256_set1_ps(offset);
            for (; i + 8 <= count; i += 8) _mm256_stream_ps(out + i, scaled8(pixel + i, s, o));
        }
    }
    convert_plain(pixel + i, out + i, count - i, scale, offset);
}

IBRL_TARGET_AVX512 inline __m512 scaled16(const uint8_t* pixel, __m512 scale, __m512 offset) {
    const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pixel)));
    return _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(wide), scale), offset);
}

// Sixteen finite floats to bfloat16, to nearest even.
IBRL_TARGET_AVX512 inline __m256i to_bfloat16(__m512 value) {
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

template <typename T>
IBRL_TARGET_AVX512 void convert_avx512(const uint8_t* pixel, T* out, int64_t count, float scale, float offset,
                                       bool stream) {
    const __m512 s = _mm512_set1_ps(scale), o = _mm512_set1_ps(offset);
    int64_t i = stream ? pixels_to_alignment(out, count, 64) : 0;
    convert_plain(pixel, out, i, scale, offset);
    if constexpr (sizeof(T) == 4) {
        for (; stream && i + 16 <= count; i += 16) _mm512_stream_ps(out + i, scaled16(pixel + i, s, o));
        for (; i + 16 <= count; i += 16) _mm512_storeu_ps(out + i, scaled16(pixel + i, s, o));
    } else {
        for (; i + 32 <= count; i += 32) {
            const __m512i both =
                _mm512_inserti64x4(_mm512_castsi256_si512(to_bfloat16(scaled16(pixel + i, s, o))),
                                   to_bfloat16(scaled16(pixel + i + 16, s, o)), 1);
            if (stream)
                _mm512_stream_si512(reinterpret_cast<__m512i*>(out + i), both);
            else
                _mm512_storeu_si512(out + i, both);
        }
    }
    convert_plain(pixel + i, out + i, count - i, scale, offset);
}

#endif

}  // namespace

template <typename T>
ConvertPixels<T> best_convert_pixels() {
#if defined(__x86_64__)
    if (cpu_isa() == CpuIsa::avx512) return convert_avx512<T>;
    if (cpu_isa() == CpuIsa::avx2) return convert_avx2<T>;
#endif
    return convert_portable<T>;
}

template ConvertPixels<float> best_convert_pixels<float>();
template ConvertPixels<bfloat16> best_convert_pixels<bfloat16>();

}  // namespace ibrl
