#include "common/thread_pool.h"
#include "kernels/sample_rows.h"

namespace ibrl {

void sample_rows_cpu(const SampleRowsArgs& args, int threads) {
    parallel_for(args.batch, 8192, threads, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) args.rows[i] = sample_one_row(args, i);
    });
}

}  // namespace ibrl
