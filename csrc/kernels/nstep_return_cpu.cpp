#include <atomic>

#include "common/thread_pool.h"
#include "kernels/nstep_return.h"

namespace ibrl {

int64_t nstep_return_cpu(const NstepReturnArgs& args, int threads) {
    std::atomic<int64_t> bad{-1};
    parallel_for(args.batch, 4096, threads, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            if (!nstep_row_is_valid(args, args.rows[i]))
                bad = i;
            else if (args.is_float64)
                nstep_return_one<double>(args, i);
            else
                nstep_return_one<float>(args, i);
        }
    });
    return bad;
}

}  // namespace ibrl
