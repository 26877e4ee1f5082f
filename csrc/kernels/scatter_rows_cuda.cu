#include <algorithm>

#include "common/cuda_check.cuh"
#include "kernels/scatter_rows.h"

namespace ibrl {
namespace {

constexpr int kThreads = 256;
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
