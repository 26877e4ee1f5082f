#include <algorithm>
#include <atomic>
#include <cstring>

#include "common/thread_pool.h"
#include "kernels/convert_pixels.h"
#include "kernels/random_shift_gather.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ibrl {
namespace {

constexpr int64_t kBandPixels = 16384;  // shifted pixels held on the stack, well inside the first cache
constexpr int64_t kStreamBytes = 16 * 1024 * 1024;  // outputs from this size on go past the caches

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
