// Rows of several sources at once, each with its own row indices, frame stack and conversion.
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace ibrl {

constexpr int kMaxGathers = 16;

// One source and where it goes. A stack of k puts rows r, r - 1, .. side by side, newest first, and repeats
// the first row of the episode where it is younger than the stack.
struct ReplayGather {
    const void* source;   // [num_rows, features], rows row_stride elements apart
    const int64_t* rows;  // [batch]
    void* out;            // [batch, stack * features]
    int64_t num_rows, row_stride, features, stack;
    DType source_dtype, out_dtype;
};

struct ReplayGatherArgs {
    ReplayGather gathers[kMaxGathers];
    const int32_t*
        episode_step;  // [num_rows], steps since the episode's first row; null where every stack is 1
    int64_t count;     // number of gathers in use
    int64_t batch;
};

// The row that entry `j` of a stack is read from.
IBRL_HD inline int64_t stacked_row(int64_t row, int64_t j, const int32_t* episode_step) {
    return j == 0 ? row : row - (j < episode_step[row] ? j : episode_step[row]);
}

int64_t replay_gather_cpu(const ReplayGatherArgs& args, int threads);  // index of a bad entry of rows, or -1
void replay_gather_cuda(const ReplayGatherArgs& args, int device, void* stream);

}  // namespace ibrl
