// Rows of the replay buffer, several tensors at once: replay_gather reads them, each tensor with its own row
// indices, frame stack and conversion; scatter_rows writes them from one packed buffer of indices and values.
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
    const int32_t* episode_step;  // [num_rows], steps since the episode's first row; null: nothing is stacked
    int64_t count;                // number of gathers in use
    int64_t batch;
};

// Steps since the first row of the episode, for a row of the storage; 0 where nothing is stacked.
IBRL_HD inline int64_t steps_back(int64_t row, int64_t stack, const int32_t* episode_step) {
    return stack > 1 ? episode_step[row] : 0;
}

// The row that entry `j` of a stack is read from: in the storage where 0 <= back <= row.
IBRL_HD inline int64_t stacked_row(int64_t row, int64_t j, int64_t back) {
    return row - (j < back ? j : back);
}

// index of a bad entry of rows (or whose episode_step leads out of the storage), or -1
int64_t replay_gather_cpu(const ReplayGatherArgs& args, int threads);
void replay_gather_cuda(const ReplayGatherArgs& args, int device, void* stream);

constexpr int kMaxScatters = 24;

// One target: target[rows[i]] = values[i], whole rows of bytes. No row twice.
struct RowScatter {
    const int64_t* rows;    // [count]
    const uint8_t* values;  // [count, row_bytes]
    uint8_t* target;        // [num_rows, row_bytes]
    int64_t num_rows, row_bytes, count;
};

struct ScatterRowsArgs {
    RowScatter scatters[kMaxScatters];
    int64_t count;  // number of scatters in use
};

int64_t scatter_rows_cpu(const ScatterRowsArgs& args, int threads);  // index of a bad entry of rows, or -1
void scatter_rows_cuda(const ScatterRowsArgs& args, int device, void* stream);

}  // namespace ibrl
