#include <algorithm>

#include "common/cuda_check.cuh"
#include "kernels/adam_update.h"

namespace ibrl {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 8;         // elements, as two 16-byte vectors of float
constexpr int kMaxGradients = 120;    // in one launch
constexpr int kArgumentBytes = 4096;  // limit on kernel arguments

struct Batch {
    struct Entry {
        const void* gradient;
        long long offset, count;
        unsigned first_block;
    } entries[kMaxGradients];
    int num_gradients;
    bool is_last;
};
static_assert(sizeof(Batch) + sizeof(AdamUpdateArgs) <= kArgumentBytes);

// Steps done before this one, for one thread of each block. In the last launch of a step, blocks count
// themselves in the upper half of the counter, and the last of them clears that half and adds one step: by
// then every block has read the lower half, because it reads and counts in one operation.
__device__ uint32_t read_and_count(int64_t* step, bool is_last) {
    auto* counter = reinterpret_cast<unsigned long long*>(step);
    constexpr unsigned long long kBlock = 1ull << 32;
    const unsigned long long before = is_last ? atomicAdd(counter, kBlock) : *counter;
    assert((before >> 32) < gridDim.x && static_cast<uint32_t>(before) != UINT32_MAX &&
           "adam_update: step: expected 0 to 2^32 - 2");
    if (!is_last) return static_cast<uint32_t>(before);
    if ((before >> 32) == gridDim.x - 1) atomicAdd(counter, 1ull - gridDim.x * kBlock);
    return static_cast<uint32_t>(before);
}

// A block updates kThreads * kPerThread elements of one
// tensor, found by bisection over the tensors' first blocks.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    adam_update_kernel(const __grid_constant__ Batch batch, const __grid_constant__ AdamUpdateArgs args) {
    __shared__ AdamStep<T> shared;
    if (threadIdx.x == 0) shared = AdamStep<T>::make(args, read_and_count(args.step, batch.is_last));
    __syncthreads();
    if (batch.num_gradients == 0) return;
    const AdamStep<T> step = shared;
    const T rho = static_cast<T>(args.rho), rest = static_cast<T>(1.0 - args.rho);

    int low = 0, high = batch.num_gradients - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (batch.entries[middle].first_block <= blockIdx.x)
            low = middle;
        else
            high = middle - 1;
    }
    const auto& entry = batch.entries[low];
    const T* const gradient = static_cast<const T*>(entry.gradient);
    T* const value = static_cast<T*>(args.values) + entry.offset;
    T* const exp_avg = static_cast<T*>(args.exp_avg) + entry.offset;
    T* const exp_avg_sq = static_cast<T*>(args.exp_avg_sq) + entry.offset;
    T* const target = args.target != nullptr && entry.offset >= args.target_begin
                          ? static_cast<T*>(args.target) + (entry.offset - args.target_begin)
                          : nullptr;
    const long long begin = (blockIdx.x - entry.first_block) * static_cast<long long>(kThreads * kPerThread);
    const long long end = min(begin + kThreads * kPerThread, entry.count);

    // 16 bytes at a time where all tensors are aligned; the rest element by element.
    constexpr int kVector = 16 / sizeof(T);
    struct alignas(16) Vector {
        T value[kVector];
    };
    long long done = begin;
    const uintptr_t addresses = reinterpret_cast<uintptr_t>(gradient) | reinterpret_cast<uintptr_t>(value) |
                                reinterpret_cast<uintptr_t>(exp_avg) |
                                reinterpret_cast<uintptr_t>(exp_avg_sq) | reinterpret_cast<uintptr_t>(target);
    if ((addresses & 15) == 0) {
        const long long vectors = (end - begin) / kVector;
        for (long long v = begin / kVector + threadIdx.x; v < begin / kVector + vectors; v += kThreads) {
            const Vector g = reinterpret_cast<const Vector*>(gradient)[v];
            Vector p = reinterpret_cast<Vector*>(value)[v];
            Vector m = reinterpret_cast<Vector*>(exp_avg)[v];
            Vector s = reinterpret_cast<Vector*>(exp_avg_sq)[v];
            Vector t{};
            if (target != nullptr) t = reinterpret_cast<Vector*>(target)[v];
#pragma unroll
            for (int k = 0; k < kVector; ++k) {
                step.apply(g.value[k], p.value[k], m.value[k], s.value[k]);
                t.value[k] = polyak(t.value[k], p.value[k], rho, rest);
            }
            reinterpret_cast<Vector*>(value)[v] = p;
            reinterpret_cast<Vector*>(exp_avg)[v] = m;
            reinterpret_cast<Vector*>(exp_avg_sq)[v] = s;
            if (target != nullptr) reinterpret_cast<Vector*>(target)[v] = t;
        }
        done = begin + vectors * kVector;
    }
    for (long long i = done + threadIdx.x; i < end; i += kThreads) {
        step.apply(gradient[i], value[i], exp_avg[i], exp_avg_sq[i]);
        if (target != nullptr) target[i] = polyak(target[i], value[i], rho, rest);
    }
}

template <typename T>
void launch(const AdamUpdateArgs& args, cudaStream_t stream) {
    int64_t next = 0;
    do {
        // The next gradients that fit; the step is counted even if there is none.
        Batch batch{};
        unsigned blocks = 0;
        for (; next < args.num_gradients && batch.num_gradients < kMaxGradients; ++next) {
            const AdamGradient& tensor = args.gradients[next];
            if (tensor.count == 0) continue;
            batch.entries[batch.num_gradients++] = {tensor.gradient, tensor.offset, tensor.count, blocks};
            blocks += blocks_for(tensor.count, kThreads * kPerThread);
        }
        batch.is_last = next == args.num_gradients;
        adam_update_kernel<T><<<std::max(blocks, 1u), kThreads, 0, stream>>>(batch, args);
        cuda_check(cudaGetLastError(), "adam_update");
    } while (next < args.num_gradients);
}

}  // namespace

void adam_update_cuda(const AdamUpdateArgs& args, int device, void* stream) {
    DeviceGuard guard(device);
    if (args.is_float64)
        launch<double>(args, static_cast<cudaStream_t>(stream));
    else
        launch<float>(args, static_cast<cudaStream_t>(stream));
}

}  // namespace ibrl
