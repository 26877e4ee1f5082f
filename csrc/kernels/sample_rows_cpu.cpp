#include "common/thread_pool.h"
#include "kernels/sample_rows.h"

namespace ibrl {

int64_t sample_rows_cpu(const SampleRowsArgs& args, int threads) {
    const SampleRun run = read_run(args);
    if (!run_is_inside(args, run)) return 0;
    parallel_for(args.batch, 8192, threads, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) args.rows[i] = sample_one_row(args, run, i);
    });
    return -1;
}

}  // namespace ibrl
