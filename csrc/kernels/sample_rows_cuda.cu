#include "common/cuda_check.cuh"
#include "kernels/sample_rows.h"

namespace ibrl {
namespace {

__global__ void sample_rows_kernel(SampleRowsArgs args) {
    const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (i >= args.batch) return;
    const SampleRun run = read_run(args);
    assert(run_is_inside(args, run) && "sample_rows: begin, size: expected a part of the table");
    args.rows[i] = sample_one_row(args, run, i);
}

}  // namespace

void sample_rows_cuda(const SampleRowsArgs& args, int device, void* stream) {
    if (args.batch == 0) return;
    DeviceGuard guard(device);
    sample_rows_kernel<<<blocks_for(args.batch, 128), 128, 0, static_cast<cudaStream_t>(stream)>>>(args);
    cuda_check(cudaGetLastError(), "sample_rows");
}

}  // namespace ibrl
