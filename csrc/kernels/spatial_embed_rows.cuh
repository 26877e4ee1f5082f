// What the CUDA kernels of spatial_embed share: a warp holds a row in registers, a block adds up its warps.
#pragma once

#include "common/cuda_check.cuh"
#include "kernels/spatial_embed.h"

namespace ibrl {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

template <typename V>
__device__ V warp_sum(V value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
    return value;
}

// Adds up what the warps hold for the same columns, and writes it; `shared` has room for kWarps rows.
template <typename T, typename V, int kPerLane>
__device__ void write_block_sum(const V (&total)[kPerLane], V* shared, T* out, int embed_dim) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int k = 0; k < kPerLane; ++k)
        if (lane + 32 * k < embed_dim) shared[warp * embed_dim + lane + 32 * k] = total[k];
    __syncthreads();
    for (int h = threadIdx.x; h < embed_dim; h += kThreads) {
        V sum = 0;
        for (int w = 0; w < kWarps; ++w) sum += shared[w * embed_dim + h];
        out[h] = ConvertTo<T>::from(sum);
    }
}

// More than 48 KiB of shared memory has to be asked for.
template <typename Kernel>
void allow_shared(Kernel kernel, int bytes) {
    if (bytes > 48 * 1024)
        cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                   "spatial_embed");
}

// Launch::run<T, V, elements of a row that a lane holds>(args, stream), for the arguments' element type and
// width.
template <typename Launch, typename T, typename V, typename Args>
void launch_for_width(const Args& args, cudaStream_t stream) {
    if (args.embed_dim <= 256) return Launch::template run<T, V, 8>(args, stream);
    if (args.embed_dim <= 1024) return Launch::template run<T, V, 32>(args, stream);
    if (args.embed_dim <= kMaxSpatialEmbedDim) return Launch::template run<T, V, 64>(args, stream);
    throw std::invalid_argument("spatial_embed: embed_dim is too large for the CUDA kernel");
}

template <typename Launch, typename Args>
void launch_on_device(const Args& args, int device, void* stream) {
    if (args.batch == 0 || args.proposals == 0 || args.embed_dim == 0) return;
    DeviceGuard guard(device);
    const auto on = static_cast<cudaStream_t>(stream);
    switch (args.dtype) {
        case DType::float64:
            launch_for_width<Launch, double, double>(args, on);
            break;
        case DType::bfloat16:
            launch_for_width<Launch, bfloat16, float>(args, on);
            break;
        default:
            launch_for_width<Launch, float, float>(args, on);
    }
    cuda_check(cudaGetLastError(), "spatial_embed");
}

}  // namespace ibrl
