// How the CPU kernels of spatial_embed run: a pass over rows, then a pass over tiles of columns, each
// compiled for every instruction set and element type.
#pragma once

#include <cstdint>

#include "common/cpu_isa.h"
#include "common/thread_pool.h"
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

// Rows first, then columns: each output belongs to one tile, so nothing is summed across threads.
template <typename Rows, typename Columns, typename T, typename V, typename Args>
void run_passes(const Args& args, int threads) {
    run_pass<Rows, T, V>(args, args.batch, 1, threads);
    run_pass<Columns, T, V>(args, args.embed_dim, kTile<V>, threads);
}

template <typename Rows, typename Columns, typename Args>
void run_passes_for_dtype(const Args& args, int threads) {
    switch (args.dtype) {
        case DType::float64:
            return run_passes<Rows, Columns, double, double>(args, threads);
        case DType::bfloat16:
            return run_passes<Rows, Columns, bfloat16, float>(args, threads);
        default:
            return run_passes<Rows, Columns, float, float>(args, threads);
    }
}

}  // namespace ibrl
