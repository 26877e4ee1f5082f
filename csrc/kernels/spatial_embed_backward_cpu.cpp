#include <type_traits>

#include "kernels/spatial_embed.h"
#include "kernels/spatial_embed_passes.h"

namespace ibrl {
namespace {

// What the gradient of LayerNorm's input needs of each row: the means of g and of g * normalised, where g is
// the gradient at the normalised value.
template <typename T, typename V>
IBRL_ALWAYS_INLINE void row_sums(const SpatialEmbedBackwardArgs& args, int64_t begin, int64_t end) {
    const int64_t count = args.embed_dim, stride = args.num_critics * count;
    const V* norm_weight = static_cast<const V*>(args.norm_weight);
    const V* norm_bias = static_cast<const V*>(args.norm_bias);
    for (int64_t b = begin; b < end; ++b)
        for (int64_t c = 0; c < args.channels; ++c)
            for (int64_t p = 0; p < args.proposals; ++p) {
                const T* row = static_cast<const T*>(args.patches) + (b * args.channels + c) * stride;
                const T* extra =
                    static_cast<const T*>(args.extra) + p * args.extra_strides[1] + b * args.extra_strides[2];
                const T* grad = static_cast<const T*>(args.grad_out) + p * args.grad_out_strides[1] +
                                b * args.grad_out_strides[2];
                const V* weight = static_cast<const V*>(args.channel_weight) + c * count;
                const int64_t at = (p * args.batch + b) * args.channels + c;
                const V mean = static_cast<const V*>(args.mean)[at],
                        rstd = static_cast<const V*>(args.rstd)[at];
                using Wide = typename Pack<V>::type;
                constexpr int64_t n = Pack<V>::size;
                Wide first[2] = {}, second[2] = {};
                V rest_first = 0, rest_second = 0;
                const auto add = [&](int64_t i, auto& one, auto& two) __attribute__((always_inline)) {
                    using P = std::remove_reference_t<decltype(one)>;
                    const P normal = (load<P>(row + i) + load<P>(extra + i) - mean) * rstd;
                    const P scale = load<P>(norm_weight + i);
                    const P value = normal * scale + load<P>(norm_bias + i);
                    const P g = (value <= V(0) ? P{} : load<P>(grad + i) * load<P>(weight + i)) * scale;
                    one += g;
                    two += g * normal;
                };
                int64_t i = 0;
                for (; i + 2 * n <= count; i += 2 * n)
                    for (int64_t k = 0; k < 2; ++k) add(i + k * n, first[k], second[k]);
                for (; i + n <= count; i += n) add(i, first[0], second[0]);
                for (; i < count; ++i) add(i, rest_first, rest_second);
                V* sums = static_cast<V*>(args.scratch) + 2 * at;
                sums[0] = (sum_of<V>(first[0] + first[1]) + rest_first) / static_cast<V>(count);
                sums[1] = (sum_of<V>(second[0] + second[1]) + rest_second) / static_cast<V>(count);
            }
}

// All gradients in N packs (or single values) of columns from `column` on.
template <typename T, typename V, typename P, int N>
IBRL_ALWAYS_INLINE void grad_columns(const SpatialEmbedBackwardArgs& args, int64_t column) {
    constexpr int64_t n = sizeof(P) / sizeof(V);
    const int64_t stride = args.num_critics * args.embed_dim;
    const bool of_weights = args.grad_channel_weight != nullptr;
    const V* weight = static_cast<const V*>(args.channel_weight) + column;
    V* grad_weight = static_cast<V*>(args.grad_channel_weight) + (of_weights ? column : 0);
    P scale[N], shift[N], grad_scale[N], grad_shift[N];
    for (int k = 0; k < N; ++k) {
        scale[k] = load<P>(static_cast<const V*>(args.norm_weight) + column + k * n);
        shift[k] = load<P>(static_cast<const V*>(args.norm_bias) + column + k * n);
        grad_scale[k] = grad_shift[k] = P{};
    }
    for (int64_t b = 0; b < args.batch; ++b)
        for (int64_t p = 0; p < args.proposals; ++p) {
            const int64_t first_row = b * args.channels * stride + column;
            const T* rows = static_cast<const T*>(args.patches) + first_row;
            T* grad_rows = args.grad_patches ? static_cast<T*>(args.grad_patches) + first_row : nullptr;
            const T* extra = static_cast<const T*>(args.extra) + p * args.extra_strides[1] +
                             b * args.extra_strides[2] + column;
            const T* grad_out = static_cast<const T*>(args.grad_out) + p * args.grad_out_strides[1] +
                                b * args.grad_out_strides[2] + column;
            const int64_t statistics = (p * args.batch + b) * args.channels;
            const V* mean = static_cast<const V*>(args.mean) + statistics;
            const V* rstd = static_cast<const V*>(args.rstd) + statistics;
            const V* sums = static_cast<const V*>(args.scratch) + 2 * statistics;
            P added[N], error[N], total[N];
            for (int k = 0; k < N; ++k) {
                added[k] = load<P>(extra + k * n);
                error[k] = load<P>(grad_out + k * n);
                total[k] = P{};
            }
            for (int64_t c = 0; c < args.channels; ++c)
                for (int k = 0; k < N; ++k) {
                    const int64_t at = c * args.embed_dim + k * n, of_row = c * stride + k * n;
                    const P normal = (load<P>(rows + of_row) + added[k] - mean[c]) * rstd[c];
                    const P value = normal * scale[k] + shift[k];
                    const P g = value <= V(0) ? P{} : error[k] * load<P>(weight + at);
                    const P back = (g * scale[k] - sums[2 * c] - normal * sums[2 * c + 1]) * rstd[c];
                    total[k] += back;
                    if (grad_rows)
                        store(grad_rows + of_row, p == 0 ? back : back + load<P>(grad_rows + of_row));
                    if (of_weights) {
                        grad_scale[k] += g * normal;
                        grad_shift[k] += g;
                        const P active = (value < V(0) ? P{} : value) * error[k];
                        store(grad_weight + at, load<P>(grad_weight + at) + active);
                    }
                }
            T* grad_extra = static_cast<T*>(args.grad_extra) + p * args.grad_extra_strides[1] +
                            b * args.grad_extra_strides[2] + column;
            for (int k = 0; k < N; ++k) store(grad_extra + k * n, total[k]);
        }
    if (!of_weights) return;
    V* grad_norm_weight = static_cast<V*>(args.grad_norm_weight) + column;
    V* grad_norm_bias = static_cast<V*>(args.grad_norm_bias) + column;
    for (int k = 0; k < N; ++k) {
        store(grad_norm_weight + k * n, load<P>(grad_norm_weight + k * n) + grad_scale[k]);
        store(grad_norm_bias + k * n, load<P>(grad_norm_bias + k * n) + grad_shift[k]);
    }
}

struct Rows {
    template <typename T, typename V>
    static IBRL_ALWAYS_INLINE void run(const SpatialEmbedBackwardArgs& args, int64_t begin, int64_t end) {
        row_sums<T, V>(args, begin, end);
    }
};

struct Columns {
    template <typename T, typename V, typename P, int N>
    static IBRL_ALWAYS_INLINE void run_tile(const SpatialEmbedBackwardArgs& args, int64_t column) {
        grad_columns<T, V, P, N>(args, column);
    }
};

}  // namespace

int64_t spatial_embed_scratch_cpu(const SpatialEmbedSizes& sizes) {
    return 2 * sizes.proposals * sizes.batch * sizes.channels;
}

void spatial_embed_backward_cpu(const SpatialEmbedBackwardArgs& args, int threads) {
    run_critics_for_dtype<Rows, Columns>(args, threads);
}

}  // namespace ibrl
