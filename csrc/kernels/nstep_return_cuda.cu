#include "common/cuda_check.cuh"
#include "kernels/nstep_return.h"

namespace ibrl {
namespace {

template <typename T>
__global__ void nstep_return_kernel(NstepReturnArgs args) {
    const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (i >= args.batch) return;
    assert(nstep_row_is_valid(args, args.rows[i]) && "nstep_return: rows: expected rows that hold a step");
    nstep_return_one<T>(args, i);
}

}  // namespace

void nstep_return_cuda(const NstepReturnArgs& args, int device, void* stream) {
    if (args.batch == 0) return;
    DeviceGuard guard(device);
    const auto blocks = blocks_for(args.batch, 128);
    if (args.is_float64)
        nstep_return_kernel<double><<<blocks, 128, 0, static_cast<cudaStream_t>(stream)>>>(args);
    else
        nstep_return_kernel<float><<<blocks, 128, 0, static_cast<cudaStream_t>(stream)>>>(args);
    cuda_check(cudaGetLastError(), "nstep_return");
}

}  // namespace ibrl
