#include <algorithm>

#include "common/cpu_isa.h"
#include "common/thread_pool.h"
#include "kernels/adam_update.h"

namespace ibrl {
namespace {

constexpr int64_t kPiece = 32768;

// Part of one tensor; no target where it has no moving average.
template <typename T>
struct Part {
    const T* gradient;
    T *value, *exp_avg, *exp_avg_sq, *target;
    int64_t count;
    T rho, rest;
};

template <typename T>
IBRL_ALWAYS_INLINE void update_plain(const Part<T>& part, const AdamStep<T>& shared) {
    const AdamStep<T> step = shared;
    const T* __restrict gradient = part.gradient;
    T* __restrict value = part.value;
    T* __restrict exp_avg = part.exp_avg;
    T* __restrict exp_avg_sq = part.exp_avg_sq;
    if (part.target == nullptr) {
        for (int64_t i = 0; i < part.count; ++i) step.apply(gradient[i], value[i], exp_avg[i], exp_avg_sq[i]);
        return;
    }
    T* __restrict target = part.target;
    const T rho = part.rho, rest = part.rest;
    for (int64_t i = 0; i < part.count; ++i) {
        step.apply(gradient[i], value[i], exp_avg[i], exp_avg_sq[i]);
        target[i] = polyak(target[i], value[i], rho, rest);
    }
}

template <typename T>
using Update = void (*)(const Part<T>&, const AdamStep<T>&);

template <typename T>
void update_portable(const Part<T>& part, const AdamStep<T>& step) {
    update_plain(part, step);
}
template <typename T>
IBRL_TARGET_AVX2 void update_avx2(const Part<T>& part, const AdamStep<T>& step) {
    update_plain(part, step);
}
template <typename T>
IBRL_TARGET_AVX512 void update_avx512(const Part<T>& part, const AdamStep<T>& step) {
    update_plain(part, step);
}

template <typename T>
Update<T> best_update() {
    if (cpu_isa() == CpuIsa::avx512) return update_avx512<T>;
    return cpu_isa() == CpuIsa::avx2 ? update_avx2<T> : update_portable<T>;
}

template <typename T>
void update_all(const AdamUpdateArgs& args, int threads) {
    const auto update = best_update<T>();
    const auto step = AdamStep<T>::make(args, static_cast<uint32_t>(*args.step));
    const T rho = static_cast<T>(args.rho), rest = static_cast<T>(1.0 - args.rho);

    // One pass over all gradients laid end to end: a piece
    // finds its tensor and may run on into the next ones.
    int64_t total = 0;
    for (int64_t t = 0; t < args.num_gradients; ++t) total += args.gradients[t].count;
    parallel_for(total, kPiece, threads, [&](int64_t begin, int64_t end) {
        int64_t start = 0;
        for (int64_t t = 0; t < args.num_gradients && start < end; start += args.gradients[t++].count) {
            const AdamGradient& tensor = args.gradients[t];
            const int64_t from = std::max(begin - start, int64_t{0}),
                          to = std::min(end - start, tensor.count);
            if (from >= to) continue;
            const int64_t at = tensor.offset + from;
            T* const target = args.target != nullptr && tensor.offset >= args.target_begin
                                  ? static_cast<T*>(args.target) + (at - args.target_begin)
                                  : nullptr;
            update({static_cast<const T*>(tensor.gradient) + from, static_cast<T*>(args.values) + at,
                    static_cast<T*>(args.exp_avg) + at, static_cast<T*>(args.exp_avg_sq) + at, target,
                    to - from, rho, rest},
                   step);
        }
    });
    ++*args.step;
}

}  // namespace

int64_t adam_update_cpu(const AdamUpdateArgs& args, int threads) {
    if (*args.step < 0 || *args.step >= int64_t{UINT32_MAX}) return 0;
    if (args.is_float64)
        update_all<double>(args, threads);
    else
        update_all<float>(args, threads);
    return -1;
}

}  // namespace ibrl
