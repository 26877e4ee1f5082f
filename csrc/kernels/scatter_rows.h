// Rows of several targets at once, from one packed buffer of row indices and values: what replay_gather reads
// back.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace ibrl {

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
