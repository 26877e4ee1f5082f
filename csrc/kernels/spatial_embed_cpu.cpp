#include <algorithm>
#include <cmath>

#include "kernels/spatial_embed.h"
#include "kernels/spatial_embed_passes.h"

namespace ibrl {
namespace {

// Sum over i of body(i, P{}) for a row, packs first and then single values.
template <typename V, typename Body>
IBRL_ALWAYS_INLINE V sum_row(int64_t count, Body body) {
    using P = typename Pack<V>::type;
    constexpr int64_t n = Pack<V>::size;
    P part[4] = {};
    int64_t i = 0;
    for (; i + 4 * n <= count; i += 4 * n)
        for (int64_t k = 0; k < 4; ++k) part[k] += body(i + k * n, P{});
    for (; i + n <= count; i += n) part[0] += body(i, P{});
    V total = sum_of<V>((part[0] + part[1]) + (part[2] + part[3]));
    for (; i < count; ++i) total += body(i, V{});
    return total;
}

// Mean and one over the standard deviation of the rows of batch entries [begin, end).
template <typename T, typename V>
IBRL_ALWAYS_INLINE void row_statistics(const SpatialEmbedArgs& args, int64_t begin, int64_t end) {
    const int64_t count = args.embed_dim, stride = args.num_critics * count;
    const V scale = V(1) / static_cast<V>(count);
    for (int64_t b = begin; b < end; ++b)
        for (int64_t c = 0; c < args.channels; ++c)
            for (int64_t p = 0; p < args.proposals; ++p) {
                const T* row = static_cast<const T*>(args.patches) + (b * args.channels + c) * stride;
                const T* extra =
                    static_cast<const T*>(args.extra) + p * args.extra_strides[1] + b * args.extra_strides[2];
                const V mean =
                    scale * sum_row<V>(count, [&](int64_t i, auto zero) __attribute__((always_inline)) {
                        using P = decltype(zero);
                        return load<P>(row + i) + load<P>(extra + i);
                    });
                const V square =
                    scale * sum_row<V>(count, [&](int64_t i, auto zero) __attribute__((always_inline)) {
                        using P = decltype(zero);
                        const P x = load<P>(row + i) + load<P>(extra + i) - mean;
                        return x * x;
                    });
                const int64_t at = (p * args.batch + b) * args.channels + c;
                static_cast<V*>(args.mean)[at] = mean;
                static_cast<V*>(args.rstd)[at] = V(1) / std::sqrt(square + static_cast<V>(args.eps));
            }
}

// The weighted sums over channels of N packs (or single values) of columns from `column` on.
template <typename T, typename V, typename P, int N>
IBRL_ALWAYS_INLINE void sum_columns(const SpatialEmbedArgs& args, int64_t column) {
    constexpr int64_t n = sizeof(P) / sizeof(V);
    const int64_t stride = args.num_critics * args.embed_dim;
    const V* weight = static_cast<const V*>(args.channel_weight) + column;
    P scale[N], shift[N];
    for (int k = 0; k < N; ++k) {
        scale[k] = load<P>(static_cast<const V*>(args.norm_weight) + column + k * n);
        shift[k] = load<P>(static_cast<const V*>(args.norm_bias) + column + k * n);
    }
    for (int64_t p = 0; p < args.proposals; ++p)
        for (int64_t b = 0; b < args.batch; ++b) {
            const T* rows = static_cast<const T*>(args.patches) + b * args.channels * stride + column;
            const T* extra = static_cast<const T*>(args.extra) + p * args.extra_strides[1] +
                             b * args.extra_strides[2] + column;
            const V* mean = static_cast<const V*>(args.mean) + (p * args.batch + b) * args.channels;
            const V* rstd = static_cast<const V*>(args.rstd) + (p * args.batch + b) * args.channels;
            P added[N], total[N];
            for (int k = 0; k < N; ++k) added[k] = load<P>(extra + k * n), total[k] = P{};
            for (int64_t c = 0; c < args.channels; ++c)
                for (int k = 0; k < N; ++k) {
                    const P x = load<P>(rows + c * stride + k * n) + added[k];
                    const P value = (x - mean[c]) * rstd[c] * scale[k] + shift[k];
                    total[k] += (value < V(0) ? P{} : value) * load<P>(weight + c * args.embed_dim + k * n);
                }
            T* out = static_cast<T*>(args.out) + p * args.out_strides[1] + b * args.out_strides[2] + column;
            for (int k = 0; k < N; ++k) store(out + k * n, total[k]);
        }
}

struct Rows {
    template <typename T, typename V>
    static IBRL_ALWAYS_INLINE void run(const SpatialEmbedArgs& args, int64_t begin, int64_t end) {
        row_statistics<T, V>(args, begin, end);
    }
};

// Packs and single values of columns, for the tiles of this pass.
struct Columns {
    template <typename T, typename V, typename P, int N>
    static IBRL_ALWAYS_INLINE void run_tile(const SpatialEmbedArgs& args, int64_t column) {
        sum_columns<T, V, P, N>(args, column);
    }
};

}  // namespace

void spatial_embed_cpu(const SpatialEmbedArgs& args, int threads) {
    run_critics_for_dtype<Rows, Columns>(args, threads);
}

}  // namespace ibrl
