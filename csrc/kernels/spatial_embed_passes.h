// How the CPU kernels of spatial_embed run: critic by critic, a pass over rows, then a pass over tiles of
// columns, each compiled for every instruction set and element type.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "common/cpu_isa.h"
#include "common/dtype.h"
#include "common/thread_pool.h"
#include "kernels/spatial_embed.h"

namespace ibrl {

// 64 bytes of float or double as one value: the compiler makes one, two or four registers of it, as the
// instruction set allows. Functions of packs are always inlined (-Wno-psabi).
template <typename V>
struct Pack;
template <>
struct Pack<float> {
    typedef float type __attribute__((vector_size(64)));
    static constexpr int64_t size = 16;
};
template <>
struct Pack<double> {
    typedef double type __attribute__((vector_size(64)));
    static constexpr int64_t size = 8;
};

typedef uint16_t Pack16 __attribute__((vector_size(32)));
typedef uint32_t Pack32 __attribute__((vector_size(64)));

// A pack, and the single value that the rest of a row needs, by the same name.
template <typename P, typename T>
IBRL_ALWAYS_INLINE P load(const T* from) {
    P value;
    if constexpr (sizeof(P) <= sizeof(double)) {
        value = convert_from<P>(*from);
    } else if constexpr (std::is_same_v<T, bfloat16>) {
        Pack16 bits;
        std::memcpy(&bits, from, sizeof bits);
        const Pack32 wide = __builtin_convertvector(bits, Pack32) << 16;
        std::memcpy(&value, &wide, sizeof value);
    } else {
        std::memcpy(&value, from, sizeof value);
    }
    return value;
}

template <typename P, typename T>
IBRL_ALWAYS_INLINE void store(T* to, P value) {
    if constexpr (sizeof(P) <= sizeof(double)) {
        *to = ConvertTo<T>::from(value);
    } else if constexpr (std::is_same_v<T, bfloat16>) {
        // to nearest even; a NaN becomes the quiet one
        Pack32 bits;
        std::memcpy(&bits, &value, sizeof bits);
        const Pack32 rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
        const Pack16 kept =
            __builtin_convertvector(value == value ? rounded : rounded * 0u + 0x7FC0u, Pack16);
        std::memcpy(to, &kept, sizeof kept);
    } else {
        std::memcpy(to, &value, sizeof value);
    }
}

// The sum of a pack's values, pairwise.
template <typename V>
IBRL_ALWAYS_INLINE V sum_of(typename Pack<V>::type pack) {
    V value[Pack<V>::size];
    std::memcpy(value, &pack, sizeof pack);
    for (int64_t half = Pack<V>::size / 2; half > 0; half /= 2)
        for (int64_t i = 0; i < half; ++i) value[i] += value[i + half];
    return value[0];
}

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
