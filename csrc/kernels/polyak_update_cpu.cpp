#include <algorithm>

#include "common/cpu_isa.h"
#include "common/thread_pool.h"
#include "kernels/polyak_update.h"

namespace ibrl {
namespace {

constexpr int64_t kPiece = 32768;

template <typename T>
IBRL_ALWAYS_INLINE void update_plain(T* __restrict target, const T* __restrict online, int64_t count, T rho,
                                     T rest) {
    for (int64_t i = 0; i < count; ++i) target[i] = polyak(target[i], online[i], rho, rest);
}

template <typename T>
using Update = void (*)(T*, const T*, int64_t, T, T);

template <typename T>
void update_portable(T* target, const T* online, int64_t count, T rho, T rest) {
    update_plain(target, online, count, rho, rest);
}
template <typename T>
IBRL_TARGET_AVX2 void update_avx2(T* target, const T* online, int64_t count, T rho, T rest) {
    update_plain(target, online, count, rho, rest);
}
template <typename T>
IBRL_TARGET_AVX512 void update_avx512(T* target, const T* online, int64_t count, T rho, T rest) {
    update_plain(target, online, count, rho, rest);
}

template <typename T>
Update<T> best_update() {
    if (cpu_isa() == CpuIsa::avx512) return update_avx512<T>;
    return cpu_isa() == CpuIsa::avx2 ? update_avx2<T> : update_portable<T>;
}

template <typename T>
void update_all(const PolyakUpdateArgs& args, int threads) {
    const auto update = best_update<T>();
    const T rho = static_cast<T>(args.rho), rest = static_cast<T>(1.0 - args.rho);

    // One pass over all tensors laid end to end: a piece finds its tensor and may run on into the next ones.
    int64_t total = 0;
    for (int64_t t = 0; t < args.num_tensors; ++t) total += args.tensors[t].count;
    parallel_for(total, kPiece, threads, [&](int64_t begin, int64_t end) {
        int64_t start = 0;
        for (int64_t t = 0; t < args.num_tensors && start < end; start += args.tensors[t++].count) {
            const PolyakTensor& tensor = args.tensors[t];
            const int64_t from = std::max(begin - start, int64_t{0}),
                          to = std::min(end - start, tensor.count);
            if (from < to)
                update(static_cast<T*>(tensor.target) + from, static_cast<const T*>(tensor.online) + from,
                       to - from, rho, rest);
        }
    });
}

}  // namespace

void polyak_update_cpu(const PolyakUpdateArgs& args, int threads) {
    if (args.is_float64)
        update_all<double>(args, threads);
    else
        update_all<float>(args, threads);
}

}  // namespace ibrl
