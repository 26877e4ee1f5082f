// Uniform draws with replacement from a run of a table's entries.
#pragma once

#include <cstdint>

#include "common/philox.h"

namespace ibrl {

struct SampleRowsArgs {
    const int64_t* table;    // [capacity], entries outside begin .. begin + size - 1 are not read
    const int64_t* size;     // [1], number of valid entries, below 2^31
    const int64_t* begin;    // [1], the first of them; null: 0
    const int64_t* counter;  // [1], state of the random stream, not modified
    int64_t seed;
    int64_t* rows;  // [batch]
    int64_t batch, capacity;
};

// The valid entries, as they are in memory now.
struct SampleRun {
    int64_t begin, size;
};

IBRL_HD inline SampleRun read_run(const SampleRowsArgs& args) {
    return {args.begin ? *args.begin : 0, *args.size};
}

IBRL_HD inline bool run_is_inside(const SampleRowsArgs& args, SampleRun run) {
    return run.begin >= 0 && run.begin < args.capacity && run.size >= 1 &&
           run.size <= args.capacity - run.begin;
}

IBRL_HD inline int64_t sample_one_row(const SampleRowsArgs& args, SampleRun run, int64_t i) {
    const auto random =
        random4(args.seed, *args.counter, RandomStream::sample_rows, static_cast<uint32_t>(i));
    return args.table[run.begin + uniform_below(random, run.size)];
}

int64_t sample_rows_cpu(const SampleRowsArgs& args, int threads);  // 0 where begin or size is bad, or -1
void sample_rows_cuda(const SampleRowsArgs& args, int device, void* stream);

}  // namespace ibrl
