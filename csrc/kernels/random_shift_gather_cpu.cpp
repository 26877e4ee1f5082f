#include <algorithm>
#include <cstring>

#include "common/cpu_isa.h"
#include "common/thread_pool.h"
#include "kernels/random_shift_gather.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ibrl {
namespace {

constexpr int64_t kBandPixels = 16384;  // shifted pixels held on the stack, well inside the first cache
constexpr int64_t kStreamBytes = 16 * 1024 * 1024;  // outputs from this size on go past the caches

// Bytes to scaled float or bfloat16, in the widest instruction set of the machine:
// out[i] = pixel[i] * scale + offset, two roundings in float, then one to T. With `stream` the stores bypass
// the caches, for outputs that would not stay in them anyway.
template <typename T>
using ConvertPixels = void (*)(const uint8_t* pixel, T* out, int64_t count, float scale, float offset,
                               bool stream);

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

template <typename T>
ConvertPixels<T> best_convert_pixels() {
#if defined(__x86_64__)
    if (cpu_isa() == CpuIsa::avx512) return convert_avx512<T>;
    if (cpu_isa() == CpuIsa::avx2) return convert_avx2<T>;
#endif
    return convert_portable<T>;
}

// Output rows [y0, y1) of one shifted plane, one after the other into `band`.
void shift_rows(const uint8_t* plane, int height, int width, Shift shift, int y0, int y1, uint8_t* band) {
    const int left = std::clamp(-shift.dx, 0, width), right = std::clamp(shift.dx, 0, width);
    const int inside = std::max(0, width - left - right);
    for (int y = y0; y < y1; ++y, band += width) {
        const uint8_t* row = plane + int64_t{clamp_index(y + shift.dy, height)} * width;
        std::memset(band, row[0], left);
        std::memcpy(band + left, row + right, inside);
        std::memset(band + left + inside, row[width - 1], right);
    }
}

// One side of one batch entry: every frame of its stack, every channel.
template <typename T>
void gather_entry(const RandomShiftGatherArgs& args, int64_t i, int side, ConvertPixels<T> convert,
                  bool stream) {
    const int height = static_cast<int>(args.height), width = static_cast<int>(args.width);
    const int64_t row = (side == 0 ? args.rows : args.next_rows)[i], plane_size = args.height * args.width;
    T* out =
        static_cast<T*>(side == 0 ? args.obs : args.next_obs) + i * args.stack * args.channels * plane_size;
    const auto scale = static_cast<float>(args.scale), offset = static_cast<float>(args.offset);
    const int64_t back = steps_back(row, args.stack, args.episode_step);
    const Shift shift = draw_shift(args, i, side);

    alignas(64) uint8_t band[kBandPixels];
    const int band_rows = static_cast<int>(kBandPixels / width);
    for (int64_t j = 0; j < args.stack; ++j) {
        const uint8_t* plane = args.frames + stacked_row(row, j, back) * args.frame_stride;
        for (int64_t c = 0; c < args.channels; ++c, plane += plane_size) {
            for (int y = 0; y < height; y += band_rows) {
                const int end = std::min(height, y + band_rows);
                shift_rows(plane, height, width, shift, y, end, band);
                convert(band, out, int64_t{end - y} * width, scale, offset, stream);
                out += int64_t{end - y} * width;
            }
        }
    }
}

template <typename T>
void gather_all(const RandomShiftGatherArgs& args, int threads) {
    const int sides = args.next_rows ? 2 : 1;
    const int64_t entry_bytes = args.stack * args.channels * args.height * args.width * int64_t{sizeof(T)};
    const bool stream = entry_bytes * args.batch * sides >= kStreamBytes;
    const auto convert = best_convert_pixels<T>();
    const int64_t grain = std::max<int64_t>(1, 131072 / std::max<int64_t>(1, entry_bytes));
    parallel_for(args.batch * sides, grain, threads, [&](int64_t begin, int64_t end) {
        for (int64_t e = begin; e < end; ++e)
            gather_entry<T>(args, e % args.batch, static_cast<int>(e / args.batch), convert, stream);
#if defined(__x86_64__)
        _mm_sfence();  // streaming stores become visible before the piece counts as done
#endif
    });
}

// Whether the whole stack of a row lies in the storage.
bool is_stored(const RandomShiftGatherArgs& args, int64_t row) {
    if (row < 0 || row >= args.num_rows) return false;
    const int64_t back = steps_back(row, args.stack, args.episode_step);
    return back >= 0 && back <= row;
}

}  // namespace

int64_t random_shift_gather_cpu(const RandomShiftGatherArgs& args, int threads) {
    for (int64_t i = 0; i < args.batch; ++i)
        if (!is_stored(args, args.rows[i]) || (args.next_rows && !is_stored(args, args.next_rows[i])))
            return i;
    if (args.height * args.width == 0) return -1;
    if (args.out_dtype == DType::float32)
        gather_all<float>(args, threads);
    else
        gather_all<bfloat16>(args, threads);
    return -1;
}

}  // namespace ibrl
