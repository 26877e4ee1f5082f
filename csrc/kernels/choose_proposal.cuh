// The CUDA head that ibrl_target and ibrl_select share: a thread for each batch entry.
#pragma once

#include "common/cuda_check.cuh"
#include "kernels/choose_proposal.h"

namespace ibrl {

constexpr int kProposalThreads = 128;

template <typename Entry, typename Q, typename V, typename Args>
__global__ void __launch_bounds__(kProposalThreads) proposal_kernel(const __grid_constant__ Args args) {
    // Each critic of the subset is checked by one thread of every block, before any thread reads by it.
    if (threadIdx.x < args.subset_size)
        assert(args.subset[threadIdx.x] >= 0 && args.subset[threadIdx.x] < args.num_critics);
    __syncthreads();

    const int64_t i = int64_t{blockIdx.x} * kProposalThreads + threadIdx.x;
    if (i < args.batch) Entry::template run<Q, V>(args, i);
}

// Queues Entry::run<Q, V>(args, i) for every entry i of the batch.
template <typename Entry, typename Args>
void launch_for_proposals(const char* name, const Args& args, int device, void* stream) {
    if (args.batch == 0) return;
    DeviceGuard guard(device);
    const auto blocks = blocks_for(args.batch, kProposalThreads);
    const auto on = static_cast<cudaStream_t>(stream);
    switch (args.q_dtype) {
        case DType::float64:
            proposal_kernel<Entry, double, double><<<blocks, kProposalThreads, 0, on>>>(args);
            break;
        case DType::bfloat16:
            proposal_kernel<Entry, bfloat16, float><<<blocks, kProposalThreads, 0, on>>>(args);
            break;
        default:
            proposal_kernel<Entry, float, float><<<blocks, kProposalThreads, 0, on>>>(args);
    }
    cuda_check(cudaGetLastError(), name);
}

}  // namespace ibrl
