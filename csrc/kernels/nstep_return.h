// n-step reward, bootstrap discount and next row, from rows that lie in episode order.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace ibrl {

struct NstepReturnArgs {
    const void* reward;         // [num_rows] T
    const uint8_t* terminated;  // [num_rows]
    const uint8_t* truncated;   // [num_rows]
    const uint8_t* is_tail;     // [num_rows], 1 where a row holds an episode's last observation and no step
    const int64_t* rows;        // [batch], rows that hold a step
    void* nstep_reward;         // [batch] T
    void* discount;             // [batch] T
    int64_t* next_row;          // [batch]
    int64_t num_rows, batch;
    int64_t nstep;
    double gamma;
    bool bootstrap_on_truncation;
    bool is_float64;  // T is double, otherwise float
};

IBRL_HD inline bool nstep_row_is_valid(const NstepReturnArgs& args, int64_t row) {
    return row >= 0 && row < args.num_rows - 1 && !args.is_tail[row];
}

// Sums in double for both types: the sum is short and a float result then has one rounding.
template <typename T>
IBRL_HD inline void nstep_return_one(const NstepReturnArgs& args, int64_t i) {
    const auto* reward = static_cast<const T*>(args.reward);
    const int64_t start = args.rows[i];
    double sum = 0.0, factor = 1.0;
    int64_t row = start;
    bool ends;
    // One step at a time, until the episode is over, its known part ends or n steps are taken.
    for (;;) {
        sum = multiply_then_add(factor, static_cast<double>(reward[row]), sum);
        factor *= args.gamma;
        const bool over = args.terminated[row] || args.truncated[row];
        ends = args.terminated[row] || (over && !args.bootstrap_on_truncation);
        ++row;
        if (over || row - start >= args.nstep || row >= args.num_rows - 1 || args.is_tail[row]) break;
    }
    static_cast<T*>(args.nstep_reward)[i] = static_cast<T>(sum);
    static_cast<T*>(args.discount)[i] = static_cast<T>(ends ? 0.0 : factor);
    args.next_row[i] = row;
}

int64_t nstep_return_cpu(const NstepReturnArgs& args, int threads);  // index of a bad entry of rows, or -1
void nstep_return_cuda(const NstepReturnArgs& args, int device, void* stream);

}  // namespace ibrl
