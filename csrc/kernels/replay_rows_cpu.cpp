#include <algorithm>
#include <atomic>
#include <cstring>
#include <type_traits>

#include "common/thread_pool.h"
#include "kernels/replay_rows.h"

namespace ibrl {
namespace {

// One gather for the batch entries [begin, end).
template <typename From, typename To>
void gather(const ReplayGather& g, const int32_t* episode_step, int64_t begin, int64_t end,
            std::atomic<int64_t>& bad) {
    const auto* source = static_cast<const From*>(g.source);
    auto* out = static_cast<To*>(g.out) + begin * g.stack * g.features;
    for (int64_t i = begin; i < end; ++i) {
        const int64_t row = g.rows[i];
        const bool inside = row >= 0 && row < g.num_rows;
        const int64_t back = inside ? steps_back(row, g.stack, episode_step) : -1;
        if (back < 0 || back > row) {
            bad = i;
            return;
        }
        for (int64_t j = 0; j < g.stack; ++j, out += g.features) {
            const From* from = source + stacked_row(row, j, back) * g.row_stride;
            if constexpr (std::is_same_v<From, To>) {
                std::memcpy(out, from, g.features * sizeof(To));
            } else {
                using Middle = std::conditional_t<std::is_same_v<To, double>, double, float>;
                for (int64_t k = 0; k < g.features; ++k)
                    out[k] = ConvertTo<To>::from(convert_from<Middle>(from[k]));
            }
        }
    }
}

}  // namespace

int64_t replay_gather_cpu(const ReplayGatherArgs& args, int threads) {
    // Pieces of some 16k elements, over all gathers together.
    int64_t elements = 1;
    for (int64_t s = 0; s < args.count; ++s) elements += args.gathers[s].stack * args.gathers[s].features;
    const int64_t grain = std::max<int64_t>(1, 16384 / elements);

    std::atomic<int64_t> bad{-1};
    parallel_for(args.batch, grain, threads, [&](int64_t begin, int64_t end) {
        for (int64_t s = 0; s < args.count; ++s) {
            const ReplayGather& g = args.gathers[s];
            visit_dtype(g.source_dtype, [&](auto from) {
                visit_dtype(g.out_dtype, [&](auto to) {
                    if constexpr (!std::is_same_v<decltype(to), float16>)
                        gather<decltype(from), decltype(to)>(g, args.episode_step, begin, end, bad);
                });
            });
        }
    });
    return bad;
}

// A step of some environments: too little for a second thread.
int64_t scatter_rows_cpu(const ScatterRowsArgs& args, int) {
    for (int64_t s = 0; s < args.count; ++s) {
        const RowScatter& scatter = args.scatters[s];
        for (int64_t i = 0; i < scatter.count; ++i)
            if (scatter.rows[i] < 0 || scatter.rows[i] >= scatter.num_rows) return i;
    }
    for (int64_t s = 0; s < args.count; ++s) {
        const RowScatter& scatter = args.scatters[s];
        // rows without bytes may have no address, which memcpy must not be given
        for (int64_t i = 0; i < scatter.count && scatter.row_bytes > 0; ++i)
            std::memcpy(scatter.target + scatter.rows[i] * scatter.row_bytes,
                        scatter.values + i * scatter.row_bytes, scatter.row_bytes);
    }
    return -1;
}

}  // namespace ibrl
