// Ops that do the same for every entry of a batch. What they do is inline in their headers, for both devices.
#include <atomic>

#include "common/thread_pool.h"
#include "kernels/nstep_return.h"
#include "kernels/proposals.h"
#include "kernels/sample_rows.h"

namespace ibrl {
namespace {

// Calls one(Q{}, V{}, i) for every entry i, with the types of the critics' values and of what is computed
// with them; the index of a bad entry of the subset, or -1.
template <typename One>
int64_t for_proposals(const ProposalValues& args, int threads, One one) {
    for (int64_t k = 0; k < args.subset_size; ++k)
        if (!is_critic(args, k)) return k;
    const auto run = [&](auto q, auto v) {
        parallel_for(args.batch, 2048, threads, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) one(q, v, i);
        });
    };
    switch (args.q_dtype) {
        case DType::float64:
            run(double{}, double{});
            break;
        case DType::bfloat16:
            run(bfloat16{}, float{});
            break;
        default:
            run(float{}, float{});
    }
    return -1;
}

}  // namespace

int64_t ibrl_target_cpu(const IbrlTargetArgs& args, int threads) {
    return for_proposals(args, threads,
                         [&]<typename Q, typename V>(Q, V, int64_t i) { ibrl_target_one<Q, V>(args, i); });
}

int64_t ibrl_select_cpu(const IbrlSelectArgs& args, int threads) {
    return for_proposals(args, threads,
                         [&]<typename Q, typename V>(Q, V, int64_t i) { ibrl_select_one<Q, V>(args, i); });
}

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

int64_t sample_rows_cpu(const SampleRowsArgs& args, int threads) {
    const SampleRun run = read_run(args);
    if (!run_is_inside(args, run)) return 0;
    parallel_for(args.batch, 8192, threads, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) args.rows[i] = sample_one_row(args, run, i);
    });
    return -1;
}

}  // namespace ibrl
