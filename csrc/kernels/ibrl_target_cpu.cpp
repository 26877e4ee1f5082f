#include "common/thread_pool.h"
#include "kernels/ibrl_target.h"

namespace ibrl {

int64_t ibrl_target_cpu(const IbrlTargetArgs& args, int threads) {
    for (int64_t k = 0; k < args.subset_size; ++k)
        if (!is_critic(args, k)) return k;
    parallel_for(args.batch, 2048, threads, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            switch (args.q_dtype) {
                case DType::float64:
                    ibrl_target_one<double, double>(args, i);
                    break;
                case DType::bfloat16:
                    ibrl_target_one<bfloat16, float>(args, i);
                    break;
                default:
                    ibrl_target_one<float, float>(args, i);
            }
        }
    });
    return -1;
}

}  // namespace ibrl
