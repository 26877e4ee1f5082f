// How the CPU kernels of spatial_embed run: critic by critic, a pass over rows, then a pass over tiles of
// columns, each compiled for every instruction set and element type.
#pragma once

#include <cstdint>

#include "common/cpu_isa.h"
#include "common/thread_pool.h"
#include "kernels/spatial_embed.h"
#include "kernels/spatial_embed_pack.h"

namespace ibrl {

// Columns that are taken together: the sums over channels of a tile stay in registers.
template <typename V>
constexpr int64_t kTile = 4 * Pack<V>::size;

// Compiles a pass over rows or columns for each instruction set.
template <typename Body, typename T, typename V, typename Args>
void pass_portable(const Args& args, int64_t begin, int64_t end) {
    Body::template run<T, V>(args, begin, end);
}
template <typename Body, typename T, typename V, typename Args>
IBRL_TARGET_AVX2 void pass_avx2(const Args& args, int64_t begin, int64_t end) {
    Body::template run<T, V>(args, begin, end);
}
template <typename Body, typename T, typename V, typename Args>
IBRL_TARGET_AVX512 void pass_avx512(const Args& args, int64_t begin, int64_t end) {
    Body::template run<T, V>(args, begin, end);
}

// Runs pass `Body` over [0, count) in pieces of `grain`.
template <typename Body, typename T, typename V, typename Args>
void run_pass(const Args& args, int64_t count, int64_t grain, int threads) {
    auto pass = pass_portable<Body, T, V, Args>;
    if (cpu_isa() == CpuIsa::avx2) pass = pass_avx2<Body, T, V, Args>;
    if (cpu_isa() == CpuIsa::avx512) pass = pass_avx512<Body, T, V, Args>;
    parallel_for(count, grain, threads, [&](int64_t begin, int64_t end) { pass(args, begin, end); });
}

// Whole tiles of columns, then what is left one by one.
template <typename Columns>
struct Tiles {
    template <typename T, typename V, typename Args>
    static IBRL_ALWAYS_INLINE void run(const Args& args, int64_t begin, int64_t end) {
        for (; begin + kTile<V> <= end; begin += kTile<V>)
            Columns::template run_tile<T, V, typename Pack<V>::type, 4>(args, begin);
        for (; begin < end; ++begin) Columns::template run_tile<T, V, V, 1>(args, begin);
    }
};

// Moves an address, null where a gradient is not wanted, by a number of elements.
template <typename Element, typename Pointer>
void advance(Pointer*& address, int64_t elements) {
    using Typed = std::conditional_t<std::is_const_v<Pointer>, const Element, Element>;
    if (address) address = static_cast<Typed*>(address) + elements;
}

// Leaves of the arguments what belongs to one critic; `num_critics` stays, for it is the patches' stride.
template <typename T, typename V, typename Args>
void keep_critic(Args& args, int64_t critic) {
    const int64_t rows = args.proposals * args.batch;
    advance<T>(args.patches, critic * args.embed_dim);
    advance<T>(args.extra, critic * args.extra_strides[0]);
    for (auto weight : {&Args::norm_weight, &Args::norm_bias})
        advance<V>(args.*weight, critic * args.embed_dim);
    advance<V>(args.channel_weight, critic * args.channels * args.embed_dim);
    for (auto statistic : {&Args::mean, &Args::rstd})
        advance<V>(args.*statistic, critic * rows * args.channels);
    if constexpr (std::is_same_v<Args, SpatialEmbedArgs>) {
        advance<T>(args.out, critic * args.out_strides[0]);
    } else {
        advance<T>(args.grad_out, critic * args.grad_out_strides[0]);
        advance<T>(args.grad_extra, critic * args.grad_extra_strides[0]);
        advance<T>(args.grad_patches, critic * args.embed_dim);
        for (auto grad : {&Args::grad_norm_weight, &Args::grad_norm_bias})
            advance<V>(args.*grad, critic * args.embed_dim);
        advance<V>(args.grad_channel_weight, critic * args.channels * args.embed_dim);
    }
}

// Rows first, then columns: each output belongs to one tile, so nothing is summed across threads.
template <typename Rows, typename Columns, typename T, typename V, typename Args>
void run_critics(const Args& all, int threads) {
    for (int64_t critic = 0; critic < all.num_critics; ++critic) {
        Args args = all;
        keep_critic<T, V>(args, critic);
        run_pass<Rows, T, V>(args, args.batch, 1, threads);
        run_pass<Tiles<Columns>, T, V>(args, args.embed_dim, kTile<V>, threads);
    }
}

template <typename Rows, typename Columns, typename Args>
void run_critics_for_dtype(const Args& args, int threads) {
    switch (args.dtype) {
        case DType::float64:
            return run_critics<Rows, Columns, double, double>(args, threads);
        case DType::bfloat16:
            return run_critics<Rows, Columns, bfloat16, float>(args, threads);
        default:
            return run_critics<Rows, Columns, float, float>(args, threads);
    }
}

}  // namespace ibrl
