// What happens to a panel between two products, forward and backward, and how the kernels find their rows.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/thread_pool.h"
#include "kernels/mlp_product.h"

namespace ibrl {

// Sums over features in blocks, so that rounding errors do not grow with the width.
constexpr int64_t kSumBlock = 16;

// The sum over features of body(o), a vector of lanes.
template <typename P, typename Body>
IBRL_ALWAYS_INLINE P sum_features(int64_t width, Body body) {
    P total = {};
    for (int64_t begin = 0; begin < width; begin += kSumBlock) {
        P part = {};
        const int64_t end = std::min(begin + kSumBlock, width);
        for (int64_t o = begin; o < end; ++o) part += body(o);
        total += part;
    }
    return total;
}

template <typename P>
IBRL_ALWAYS_INLINE P relu(P value) {
    return value < P{} ? P{} : value;  // a NaN stays
}

// The sum of a vector's values, half on half.
template <typename V, int Bytes>
IBRL_ALWAYS_INLINE V sum_lanes(typename Lane<Bytes, V>::type vector) {
    if constexpr (Bytes == 2 * sizeof(V)) {
        return vector[0] + vector[1];
    } else if constexpr (Bytes == 4 * sizeof(V)) {
        return (vector[0] + vector[2]) + (vector[1] + vector[3]);
    } else {
        typename Lane<Bytes / 2, V>::type low, high;
        std::memcpy(&low, &vector, sizeof low);
        std::memcpy(&high, reinterpret_cast<const char*>(&vector) + sizeof low, sizeof high);
        return sum_lanes<V, Bytes / 2>(low + high);
    }
}

// A hidden layer behind its product, for one panel and `lanes` of its rows.
template <typename V>
struct HiddenPass {
    int64_t width, lanes;
    const V* norm_weight;  // [width]; null without LayerNorm
    const V* norm_bias;
    const V* mask;  // panel, or null
    V* values;      // panel: what the product gave, then the normalised values
    V* act;         // panel: what the next layer reads; may be `values`
    V* rstd;        // [kLanes], or null where nothing is saved
    V eps;
};

template <typename Isa, typename V>
IBRL_ALWAYS_INLINE void finish_hidden(const HiddenPass<V>& pass) {
    using P = Vector<Isa, V>;
    constexpr int64_t size = kVector<Isa, V>;
    const V scale = V(1) / static_cast<V>(pass.width);
    for (int64_t lane = 0; lane < pass.lanes; lane += size) {
        V* values = pass.values + lane;
        P mean = {}, rstd = {};
        if (pass.norm_weight) {
            mean = scale * sum_features<P>(pass.width, [&](int64_t o) __attribute__((always_inline)) {
                       return load_vector<P>(values + o * kLanes<V>);
                   });
            const P square =
                scale * sum_features<P>(pass.width, [&](int64_t o) __attribute__((always_inline)) {
                    const P x = load_vector<P>(values + o * kLanes<V>) - mean;
                    return x * x;
                });
            for (int64_t i = 0; i < size; ++i) rstd[i] = V(1) / std::sqrt(square[i] + pass.eps);
            if (pass.rstd) store_vector(pass.rstd + lane, rstd);
        }
        for (int64_t o = 0; o < pass.width; ++o) {
            P value = load_vector<P>(values + o * kLanes<V>);
            if (pass.norm_weight) {
                value = (value - mean) * rstd;
                store_vector(values + o * kLanes<V>, value);
                value = value * pass.norm_weight[o] + pass.norm_bias[o];
            }
            if (pass.mask) value *= load_vector<P>(pass.mask + o * kLanes<V> + lane);
            store_vector(pass.act + o * kLanes<V> + lane, relu(value));
        }
    }
}

// The same backward: turns the gradient of the activations into that of what the product gave.
template <typename V>
struct HiddenBackward {
    int64_t width, lanes;
    const V* norm_weight;  // [width]; null without LayerNorm
    const V* norm_bias;
    const V* mask;  // panel, or null
    const V* kept;  // panel, as the forward left it
    const V* rstd;
    V* grad;  // panel, in place
    V* sums;  // [3, width]: over the panel's rows, gradients of bias and LayerNorm's weight and bias; or null
};

// G vectors make up the rows that are computed: a sum over these is then one sum over lanes.
template <typename Isa, typename V, int G>
IBRL_ALWAYS_INLINE void finish_vectors_backward(const HiddenBackward<V>& pass) {
    using P = Vector<Isa, V>;
    constexpr int64_t size = kVector<Isa, V>;
    const V scale = V(1) / static_cast<V>(pass.width);
    P scaled[G] = {}, projected[G] = {};
    for (int64_t begin = 0; begin < pass.width; begin += kSumBlock) {
        P part[G] = {}, part_projected[G] = {};
        for (int64_t o = begin; o < std::min(begin + kSumBlock, pass.width); ++o) {
            P of_bias = {}, of_weight = {};
#pragma GCC unroll 8
            for (int g = 0; g < G; ++g) {
                const int64_t at = o * kLanes<V> + g * size;
                P grad = load_vector<P>(pass.grad + at);
                const P kept = load_vector<P>(pass.kept + at);
                P act = kept;
                if (pass.norm_weight) act = kept * pass.norm_weight[o] + pass.norm_bias[o];
                if (pass.mask) act *= load_vector<P>(pass.mask + at);
                grad = act <= P{} ? P{} : grad;
                if (pass.mask) grad *= load_vector<P>(pass.mask + at);
                of_bias += grad;
                if (pass.norm_weight) {
                    of_weight += grad * kept;
                    grad *= pass.norm_weight[o];
                    part[g] += grad, part_projected[g] += grad * kept;
                }
                store_vector(pass.grad + at, grad);
            }
            if (!pass.sums) continue;
            const int64_t norm = pass.norm_weight ? 2 * pass.width : 0;
            pass.sums[norm + o] = sum_lanes<V, Isa::bytes>(of_bias);
            if (norm) pass.sums[pass.width + o] = sum_lanes<V, Isa::bytes>(of_weight);
        }
        for (int g = 0; g < G; ++g) scaled[g] += part[g], projected[g] += part_projected[g];
    }
    if (!pass.norm_weight) return;
    P rstd[G];
    for (int g = 0; g < G; ++g) {
        rstd[g] = load_vector<P>(pass.rstd + g * size);
        scaled[g] *= scale, projected[g] *= scale;
    }
    for (int64_t o = 0; o < pass.width; ++o) {
        P sum = {};
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g) {
            const int64_t at = o * kLanes<V> + g * size;
            const P normalised = load_vector<P>(pass.kept + at);
            const P grad = rstd[g] * (load_vector<P>(pass.grad + at) - scaled[g] - normalised * projected[g]);
            store_vector(pass.grad + at, grad);
            sum += grad;
        }
        if (pass.sums) pass.sums[o] = sum_lanes<V, Isa::bytes>(sum);
    }
}

template <typename Isa, typename V>
IBRL_ALWAYS_INLINE void finish_hidden_backward(const HiddenBackward<V>& pass) {
    constexpr int all = kLanes<V> / kVector<Isa, V>;
    if (pass.lanes == kLanes<V>)
        finish_vectors_backward<Isa, V, all>(pass);
    else
        finish_vectors_backward<Isa, V, all / 2>(pass);
}

// Addresses of the rows of one panel.
template <typename V>
struct PanelRows {
    int64_t first, count, lanes;  // lanes: those that are computed, all or half of a panel
    const V* x[kLanes<V>];
    const V* extra[kLanes<V>];
    const V* mask[kLanes<V>];

    template <typename Args>
    PanelRows(const Args& args, int64_t position, int64_t panel) {
        const MlpShape& shape = args.shape;
        first = panel * kLanes<V>, count = std::min(kLanes<V>, shape.rows() - first);
        lanes = count > kLanes<V> / 2 ? kLanes<V> : kLanes<V> / 2;
        const int64_t input = shape.inputs == 1 ? 0 : position;
        int64_t proposal = first / shape.batch, b = first % shape.batch;
        for (int64_t i = 0; i < count; ++i, ++b) {
            if (b == shape.batch) b = 0, ++proposal;
            x[i] = static_cast<const V*>(args.x) + input * args.x_strides[0] + b * args.x_strides[1];
            if (args.extra)
                extra[i] = static_cast<const V*>(args.extra) + proposal * args.extra_strides[0] +
                           b * args.extra_strides[1];
            if (args.mask) mask[i] = static_cast<const V*>(args.mask) + (first + i) * args.mask_stride;
        }
    }

    // The mask of one hidden layer as a panel.
    void load_mask(int64_t feature, int64_t width, V* to) const {
        const V* from[kLanes<V>];
        for (int64_t i = 0; i < count; ++i) from[i] = mask[i] + feature;
        transpose<V>(from, count, width, to);
    }
};

// Compiles a slot's work for each instruction set.
template <typename Body, typename V, typename Args>
void slot_portable(const Args& args, int64_t slot) {
    Body::template run<Portable, V>(args, slot);
}
template <typename Body, typename V, typename Args>
IBRL_TARGET_AVX2 void slot_avx2(const Args& args, int64_t slot) {
    Body::template run<Avx2, V>(args, slot);
}
template <typename Body, typename V, typename Args>
IBRL_TARGET_AVX512 void slot_avx512(const Args& args, int64_t slot) {
    Body::template run<Avx512, V>(args, slot);
}

// Runs Body on every slot; a slot has scratch of its own and does its share of the work, whoever runs it.
template <typename Body, typename V, typename Args>
void run_slots(const Args& args, int threads) {
    auto work = slot_portable<Body, V, Args>;
    if (cpu_isa() == CpuIsa::avx2) work = slot_avx2<Body, V, Args>;
    if (cpu_isa() == CpuIsa::avx512) work = slot_avx512<Body, V, Args>;
    parallel_for(args.shape.slots, 1, threads, [&](int64_t begin, int64_t end) {
        for (int64_t slot = begin; slot < end; ++slot) work(args, slot);
    });
}

}  // namespace ibrl
