// Stacked, randomly shifted and scaled image batches straight
// from stored uint8 frames, for s and s' in one pass.
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "common/philox.h"
#include "kernels/replay_rows.h"

namespace ibrl {

struct RandomShiftGatherArgs {
    const uint8_t* frames;        // [num_rows, channels, height, width], frames frame_stride bytes apart
    const int64_t* rows;          // [batch]
    const int64_t* next_rows;     // [batch], or null for s alone
    const int32_t* episode_step;  // [num_rows], or null where stack is 1
    const int64_t* counter;       // [1], not modified
    void* obs;                    // [batch, stack * channels, height, width]
    void* next_obs;               // as obs, or null
    int64_t seed;
    int64_t num_rows, frame_stride, channels, height, width, batch, stack;
    int64_t pad;           // shifts of -pad .. pad pixels, edges replicated; 0: no shift
    double scale, offset;  // out = pixel * scale + offset
    DType out_dtype;       // float32 or bfloat16
};

// Where output pixel (y, x) is read from: (clamp(y + dy), clamp(x + dx)).
struct Shift {
    int dy, dx;
};

// side 0 is s, side 1 is s'; all frames of one stack share the shift.
IBRL_HD inline Shift draw_shift(const RandomShiftGatherArgs& args, int64_t i, int side) {
    const auto random =
        random4(args.seed, *args.counter, RandomStream::random_shift, static_cast<uint32_t>(i * 2 + side));
    const auto span = static_cast<uint64_t>(2 * args.pad + 1);
    return {static_cast<int>(random.word[0] * span >> 32) - static_cast<int>(args.pad),
            static_cast<int>(random.word[1] * span >> 32) - static_cast<int>(args.pad)};
}

IBRL_HD inline int clamp_index(int index, int size) {
    return index < 0 ? 0 : index >= size ? size - 1 : index;
}

// index of a bad entry of rows (or whose episode_step leads out of the storage), or -1
int64_t random_shift_gather_cpu(const RandomShiftGatherArgs& args, int threads);
void random_shift_gather_cuda(const RandomShiftGatherArgs& args, int device, void* stream);

}  // namespace ibrl
