#include <algorithm>

#include "common/cuda_check.cuh"
#include "kernels/polyak_update.h"

namespace ibrl {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 8;  // elements, as two 16-byte vectors of float
constexpr int kMaxTensors =
    120;  // in one launch: 120 * 32 bytes stay below the 4 KiB limit on kernel arguments

struct Batch {
    struct Entry {
        void* target;
        const void* online;
        long long count;
        unsigned first_block;
    } entries[kMaxTensors];
    int num_tensors;
};

// A block updates kThreads * kPerThread elements of one tensor, found by bisection over the tensors' first
// blocks.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    polyak_update_kernel(const __grid_constant__ Batch batch, T rho, T rest) {
    int low = 0, high = batch.num_tensors - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (batch.entries[middle].first_block <= blockIdx.x)
            low = middle;
        else
            high = middle - 1;
    }
    const auto& entry = batch.entries[low];
    T* target = static_cast<T*>(entry.target);
    const T* online = static_cast<const T*>(entry.online);
    const long long begin = (blockIdx.x - entry.first_block) * static_cast<long long>(kThreads * kPerThread);
    const long long end = min(begin + kThreads * kPerThread, entry.count);

    // 16 bytes at a time where both tensors are aligned; the rest element by element.
    constexpr int kVector = 16 / sizeof(T);
    struct alignas(16) Vector {
        T value[kVector];
    };
    long long done = begin;
    if (((reinterpret_cast<uintptr_t>(target) | reinterpret_cast<uintptr_t>(online)) & 15) == 0) {
        const long long vectors = (end - begin) / kVector;
        for (long long v = threadIdx.x; v < vectors; v += kThreads) {
            Vector t = reinterpret_cast<Vector*>(target + begin)[v];
            const Vector o = reinterpret_cast<const Vector*>(online + begin)[v];
#pragma unroll
            for (int k = 0; k < kVector; ++k) t.value[k] = polyak(t.value[k], o.value[k], rho, rest);
            reinterpret_cast<Vector*>(target + begin)[v] = t;
        }
        done = begin + vectors * kVector;
    }
    for (long long i = done + threadIdx.x; i < end; i += kThreads)
        target[i] = polyak(target[i], online[i], rho, rest);
}

template <typename T>
void launch(const PolyakUpdateArgs& args, cudaStream_t stream) {
    const T rho = static_cast<T>(args.rho), rest = static_cast<T>(1.0 - args.rho);
    for (int64_t first = 0; first < args.num_tensors; first += kMaxTensors) {
        Batch batch{};
        unsigned blocks = 0;
        for (int64_t t = first; t < std::min(args.num_tensors, first + kMaxTensors); ++t) {
            const PolyakTensor& tensor = args.tensors[t];
            if (tensor.count == 0) continue;
            batch.entries[batch.num_tensors++] = {tensor.target, tensor.online, tensor.count, blocks};
            blocks += blocks_for(tensor.count, kThreads * kPerThread);
        }
        if (blocks > 0) polyak_update_kernel<T><<<blocks, kThreads, 0, stream>>>(batch, rho, rest);
    }
    cuda_check(cudaGetLastError(), "polyak_update");
}

}  // namespace

void polyak_update_cuda(const PolyakUpdateArgs& args, int device, void* stream) {
    DeviceGuard guard(device);
    if (args.is_float64)
        launch<double>(args, static_cast<cudaStream_t>(stream));
    else
        launch<float>(args, static_cast<cudaStream_t>(stream));
}

}  // namespace ibrl
