#include <algorithm>
#include <type_traits>

#include "common/cuda_check.cuh"
#include "kernels/replay_gather.h"

namespace ibrl {
namespace {

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
__global__ void replay_gather_kernel(const __grid_constant__ ReplayGatherArgs args) {
    const ReplayGather& g = args.gathers[blockIdx.y];
    const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
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

}  // namespace

void replay_gather_cuda(const ReplayGatherArgs& args, int device, void* stream) {
    int64_t elements = 0;
    for (int64_t s = 0; s < args.count; ++s)
        elements = std::max(elements, args.batch * args.gathers[s].stack * args.gathers[s].features);
    if (elements == 0) return;
    DeviceGuard guard(device);
    const dim3 grid(blocks_for(elements, 256), static_cast<unsigned>(args.count));
    replay_gather_kernel<<<grid, 256, 0, static_cast<cudaStream_t>(stream)>>>(args);
    cuda_check(cudaGetLastError(), "replay_gather");
}

}  // namespace ibrl
