// Ops with a thread for each entry of a batch. What they do is inline in their headers, for both devices.
#include "common/cuda_check.cuh"
#include "kernels/nstep_return.h"
#include "kernels/proposals.h"
#include "kernels/sample_rows.h"

namespace ibrl {
namespace {

constexpr int kThreads = 128;

// Calls Op::prepare(args) in every thread of a block, then Op::run(args, i) for every entry i.
template <typename Op, typename Args>
__global__ void __launch_bounds__(kThreads) elementwise_kernel(const __grid_constant__ Args args) {
    Op::prepare(args);
    const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i < args.batch) Op::run(args, i);
}

template <typename Op, typename Args>
void launch(const Args& args, cudaStream_t stream) {
    elementwise_kernel<Op><<<blocks_for(args.batch, kThreads), kThreads, 0, stream>>>(args);
}

// Each entry of the subset is checked by one thread of every block, before any thread reads by it.
struct WithProposals {
    __device__ static void prepare(const ProposalValues& args) {
        if (threadIdx.x < args.subset_size)
            assert(is_critic(args, threadIdx.x) && "subset: expected critics of q");
        __syncthreads();
    }
};

template <typename Q, typename V>
struct IbrlTarget : WithProposals {
    __device__ static void run(const IbrlTargetArgs& args, int64_t i) { ibrl_target_one<Q, V>(args, i); }
};

template <typename Q, typename V>
struct IbrlSelect : WithProposals {
    __device__ static void run(const IbrlSelectArgs& args, int64_t i) { ibrl_select_one<Q, V>(args, i); }
};

// Op<Q, V> with the types of the critics' values and of what is computed with them.
template <template <typename, typename> class Op, typename Args>
void launch_for_proposals(const Args& args, cudaStream_t stream) {
    switch (args.q_dtype) {
        case DType::float64:
            return launch<Op<double, double>>(args, stream);
        case DType::bfloat16:
            return launch<Op<bfloat16, float>>(args, stream);
        default:
            return launch<Op<float, float>>(args, stream);
    }
}

template <typename T>
struct NstepReturn {
    __device__ static void prepare(const NstepReturnArgs&) {}
    __device__ static void run(const NstepReturnArgs& args, int64_t i) {
        assert(nstep_row_is_valid(args, args.rows[i]) &&
               "nstep_return: rows: expected rows that hold a step");
        nstep_return_one<T>(args, i);
    }
};

struct SampleRows {
    __device__ static void prepare(const SampleRowsArgs&) {}
    __device__ static void run(const SampleRowsArgs& args, int64_t i) {
        const SampleRun run = read_run(args);
        assert(run_is_inside(args, run) && "sample_rows: begin, size: expected a part of the table");
        args.rows[i] = sample_one_row(args, run, i);
    }
};

}  // namespace

void ibrl_target_cuda(const IbrlTargetArgs& args, int device, void* stream) {
    if (args.batch == 0) return;
    DeviceGuard guard(device);
    launch_for_proposals<IbrlTarget>(args, static_cast<cudaStream_t>(stream));
    cuda_check(cudaGetLastError(), "ibrl_target");
}

void ibrl_select_cuda(const IbrlSelectArgs& args, int device, void* stream) {
    if (args.batch == 0) return;
    DeviceGuard guard(device);
    launch_for_proposals<IbrlSelect>(args, static_cast<cudaStream_t>(stream));
    cuda_check(cudaGetLastError(), "ibrl_select");
}

void nstep_return_cuda(const NstepReturnArgs& args, int device, void* stream) {
    if (args.batch == 0) return;
    DeviceGuard guard(device);
    if (args.is_float64)
        launch<NstepReturn<double>>(args, static_cast<cudaStream_t>(stream));
    else
        launch<NstepReturn<float>>(args, static_cast<cudaStream_t>(stream));
    cuda_check(cudaGetLastError(), "nstep_return");
}

void sample_rows_cuda(const SampleRowsArgs& args, int device, void* stream) {
    if (args.batch == 0) return;
    DeviceGuard guard(device);
    launch<SampleRows>(args, static_cast<cudaStream_t>(stream));
    cuda_check(cudaGetLastError(), "sample_rows");
}

}  // namespace ibrl
