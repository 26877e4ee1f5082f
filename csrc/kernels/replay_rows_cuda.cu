#include <algorithm>
#include <type_traits>

#include "common/cuda_check.cuh"
#include "kernels/replay_rows.h"

namespace ibrl {
namespace {

constexpr int kThreads = 256;

template <typename To>
__device__ void store(void* out, int64_t at, double value) {
    if constexpr (std::is_same_v<To, double>)
        static_cast<To*>(out)[at] = value;
    else
        static_cast<To*>(out)[at] = ConvertTo<To>::from(static_cast<float>(value));
}

// Any element type passes through double without change, which keeps one kernel for all of them.
__device__ double load(const void* source, int64_t at, DType dtype) {
    switch (dtype) {
        case DType::float32:
            return static_cast<const float*>(source)[at];
        case DType::float64:
            return static_cast<const double*>(source)[at];
        case DType::bfloat16:
            return convert_from<double>(static_cast<const bfloat16*>(source)[at]);
        default:
            return convert_from<double>(static_cast<const float16*>(source)[at]);
    }
}

// Row of the grid: one gather. Threads: its output elements, neighbours beside each other in memory.
__global__ void __launch_bounds__(kThreads)
    replay_gather_kernel(const __grid_constant__ ReplayGatherArgs args) {
    const ReplayGather& g = args.gathers[blockIdx.y];
    const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    const int64_t width = g.stack * g.features;
    if (at >= args.batch * width) return;

    // Sizes below 2^31 (checked before), so that the divisions are short.
    const auto i = static_cast<uint32_t>(at) / static_cast<uint32_t>(width);
    const auto in_row = static_cast<uint32_t>(at) - i * static_cast<uint32_t>(width);
    const auto j = in_row / static_cast<uint32_t>(g.features);
    const auto k = in_row - j * static_cast<uint32_t>(g.features);
    const int64_t row = g.rows[i];
    assert(row >= 0 && row < g.num_rows && "replay_gather: rows: expected rows of the source");
    const int64_t back = steps_back(row, g.stack, args.episode_step);
    assert(back >= 0 && back <= row && "replay_gather: episode_step: expected 0 to the row");
    const double value = load(g.source, stacked_row(row, j, back) * g.row_stride + k, g.source_dtype);

    switch (g.out_dtype) {
        case DType::float32:
            store<float>(g.out, at, value);
            break;
        case DType::float64:
            store<double>(g.out, at, value);
            break;
        default:
            store<bfloat16>(g.out, at, value);
    }
}

constexpr unsigned kMostBlocks = 1024;  // for one scatter; a longer one goes round

// Copies in units of U, neighbours by neighbouring threads; rows and values may lie in mapped host memory.
template <typename U>
__device__ void scatter_units(const RowScatter& scatter) {
    const int64_t units = scatter.row_bytes / static_cast<int64_t>(sizeof(U));
    const int64_t stride = int64_t{gridDim.x} * kThreads;
    for (int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x; at < scatter.count * units;
         at += stride) {
        const int64_t i = at / units;
        const int64_t row = scatter.rows[i];
        assert(row >= 0 && row < scatter.num_rows && "scatter_rows: rows: expected rows of the target");
        reinterpret_cast<U*>(scatter.target + row * scatter.row_bytes)[at - i * units] =
            reinterpret_cast<const U*>(scatter.values)[at];
    }
}

// Row of the grid: one scatter, in the widest units that its addresses and row size allow.
__global__ void __launch_bounds__(kThreads)
    scatter_rows_kernel(const __grid_constant__ ScatterRowsArgs args) {
    const RowScatter& scatter = args.scatters[blockIdx.y];
    const auto odd = reinterpret_cast<uintptr_t>(scatter.target) |
                     reinterpret_cast<uintptr_t>(scatter.values) | static_cast<uintptr_t>(scatter.row_bytes);
    if (odd % 16 == 0)
        scatter_units<uint4>(scatter);
    else if (odd % 4 == 0)
        scatter_units<uint32_t>(scatter);
    else
        scatter_units<uint8_t>(scatter);
}

}  // namespace

void replay_gather_cuda(const ReplayGatherArgs& args, int device, void* stream) {
    int64_t elements = 0;
    for (int64_t s = 0; s < args.count; ++s)
        elements = std::max(elements, args.batch * args.gathers[s].stack * args.gathers[s].features);
    if (elements == 0) return;
    DeviceGuard guard(device);
    const dim3 grid(blocks_for(elements, kThreads), static_cast<unsigned>(args.count));
    replay_gather_kernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
    cuda_check(cudaGetLastError(), "replay_gather");
}

void scatter_rows_cuda(const ScatterRowsArgs& args, int device, void* stream) {
    // Blocks for the longest scatter, 16 bytes a thread.
    int64_t vectors = 0;
    for (int64_t s = 0; s < args.count; ++s) {
        const RowScatter& scatter = args.scatters[s];
        if (scatter.count > 0)
            vectors = std::max(vectors, std::max(scatter.count, scatter.count * scatter.row_bytes / 16));
    }
    if (vectors == 0) return;
    DeviceGuard guard(device);
    const dim3 grid(std::min(blocks_for(vectors, kThreads), kMostBlocks), static_cast<unsigned>(args.count));
    scatter_rows_kernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
    cuda_check(cudaGetLastError(), "scatter_rows");
}

}  // namespace ibrl
