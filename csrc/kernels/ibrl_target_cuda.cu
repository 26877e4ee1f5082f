#include "common/cuda_check.cuh"
#include "kernels/ibrl_target.h"

namespace ibrl {
namespace {

constexpr int kThreads = 128;

template <typename Q, typename V>
__global__ void __launch_bounds__(kThreads) ibrl_target_kernel(const __grid_constant__ IbrlTargetArgs args) {
    // Each member of the subset is checked by one thread of every block, before anything else is in
    // registers.
    if (threadIdx.x < args.values.subset_size)
        assert(args.values.subset[threadIdx.x] >= 0 &&
               args.values.subset[threadIdx.x] < args.values.ensemble);

    const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i >= args.values.batch) return;
    ibrl_target_one<Q, V>(args, i);
}

}  // namespace

void ibrl_target_cuda(const IbrlTargetArgs& args, int device, void* stream) {
    if (args.values.batch == 0) return;
    DeviceGuard guard(device);
    const auto blocks = blocks_for(args.values.batch, kThreads);
    const auto on = static_cast<cudaStream_t>(stream);
    switch (args.values.q_dtype) {
        case DType::float64:
            ibrl_target_kernel<double, double><<<blocks, kThreads, 0, on>>>(args);
            break;
        case DType::bfloat16:
            ibrl_target_kernel<bfloat16, float><<<blocks, kThreads, 0, on>>>(args);
            break;
        default:
            ibrl_target_kernel<float, float><<<blocks, kThreads, 0, on>>>(args);
    }
    cuda_check(cudaGetLastError(), "ibrl_target");
}

}  // namespace ibrl
