#include "kernels/ensemble_norm_relu.h"
#include "kernels/partial_sums.cuh"
#include "kernels/row_columns.cuh"

namespace ibrl {
namespace {

// A critic's row of [num_critics, width].
template <typename V>
__device__ const V* critic_row(const void* weight, int64_t width) {
    return static_cast<const V*>(weight) + blockIdx.y * width;
}

// Whether packs of four can be read from all rows of these tensors.
template <typename Args>
bool weights_packed(const Args& args) {
    return args.width % 4 == 0 && pack_aligned(args.x, args.dtype) &&
           pack_aligned(args.bias, DType::float32) && pack_aligned(args.norm_weight, DType::float32) &&
           pack_aligned(args.norm_bias, DType::float32);
}

// A block normalises a few rows of one critic; rows past the last repeat it and are not written.
template <typename C>
__global__ void __launch_bounds__(kRowThreads, C::kBlocks)
    ensemble_norm_relu_kernel(const __grid_constant__ EnsembleNormReluArgs args) {
    using T = typename C::T;
    using V = typename C::V;
    constexpr int kCount = C::kCount, kRows = C::kRows;
    __shared__ V shared[2][kRowWarps * kRows];
    const int width = static_cast<int>(args.width);
    const int64_t first = int64_t{blockIdx.x} * kRows, of_critic = blockIdx.y * args.batch;
    const V inverse_width = V(1) / V(width);

    typename C::Raw raw[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
        C::load_raw(static_cast<const T*>(args.x) + (of_critic + min(first + r, args.batch - 1)) * width,
                    width, raw[r]);
    V x[kRows][kCount], bias[kCount], scale[kCount], shift[kCount];
    C::load(critic_row<V>(args.bias, width), width, bias);
    C::load(critic_row<V>(args.norm_weight, width), width, scale);
    C::load(critic_row<V>(args.norm_bias, width), width, shift);

    // Mean, then the mean square of what is left.
    V mean[kRows], rstd[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        C::convert(raw[r], x[r]);
        mean[r] = 0;
#pragma unroll
        for (int k = 0; k < kCount; ++k) {
            x[r][k] += bias[k];
            mean[r] += x[r][k];
        }
    }
    block_sums(mean, shared[0]);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        mean[r] *= inverse_width;
        rstd[r] = 0;
#pragma unroll
        for (int k = 0; k < kCount; ++k) {
            x[r][k] -= mean[r];
            if (C::inside(k, width)) rstd[r] += x[r][k] * x[r][k];
        }
    }
    block_sums(rstd, shared[1]);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        if (first + r >= args.batch) break;
        rstd[r] = rsqrt(rstd[r] * inverse_width + V(args.eps));
#pragma unroll
        for (int k = 0; k < kCount; ++k) {
            const V value = x[r][k] * rstd[r] * scale[k] + shift[k];
            x[r][k] = value < V(0) ? V(0) : value;
        }
        const int64_t at = of_critic + first + r;
        C::store(static_cast<T*>(args.out) + at * width, width, x[r]);
        if (threadIdx.x == 0) {
            static_cast<V*>(args.mean)[at] = mean[r];
            static_cast<V*>(args.rstd)[at] = rstd[r];
        }
    }
}

struct Forward {
    template <typename C>
    static void run(const EnsembleNormReluArgs& args, cudaStream_t stream) {
        const dim3 blocks(blocks_for(args.batch, C::kRows), static_cast<unsigned>(args.num_critics));
        ensemble_norm_relu_kernel<C><<<blocks, kRowThreads, 0, stream>>>(args);
    }
};

// A block takes `rows` rows of one critic, some at a time, and leaves its share of the sums over the batch.
template <typename C, bool kOfWeights>
__global__ void __launch_bounds__(kRowThreads, C::kBlocks)
    ensemble_norm_relu_backward_kernel(const __grid_constant__ EnsembleNormReluBackwardArgs args,
                                       const int64_t rows) {
    using T = typename C::T;
    using V = typename C::V;
    constexpr int kCount = C::kCount, kRows = C::kRows;
    __shared__ V shared[2][kRowWarps * 2 * kRows];
    const int width = static_cast<int>(args.width);
    const int64_t of_critic = blockIdx.y * args.batch, begin = blockIdx.x * rows;
    const int64_t end = min(begin + rows, args.batch);
    const V inverse_width = V(1) / V(width);
    V bias[kCount], scale[kCount], shift[kCount];
    C::load(critic_row<V>(args.bias, width), width, bias);
    C::load(critic_row<V>(args.norm_weight, width), width, scale);
    C::load(critic_row<V>(args.norm_bias, width), width, shift);

    V grad_bias[kCount] = {}, grad_scale[kCount] = {}, grad_shift[kCount] = {};
    int buffer = 0;
    for (int64_t first = begin; first < end; first += kRows, buffer ^= 1) {
        typename C::Raw raw[kRows], raw_grad[kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const int64_t at = (of_critic + min(first + r, end - 1)) * width;
            C::load_raw(static_cast<const T*>(args.x) + at, width, raw[r]);
            C::load_raw(static_cast<const T*>(args.grad_out) + at, width, raw_grad[r]);
        }
        // The means of g and of g * normalised, where g is the gradient at the normalised value.
        V x[kRows][kCount], error[kRows][kCount], rstd[kRows], sums[2 * kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const int64_t at = of_critic + min(first + r, end - 1);
            const V mean = static_cast<const V*>(args.mean)[at];
            rstd[r] = static_cast<const V*>(args.rstd)[at];
            C::convert(raw[r], x[r]);
            C::convert(raw_grad[r], error[r]);
            sums[r] = sums[kRows + r] = 0;
#pragma unroll
            for (int k = 0; k < kCount; ++k) {
                x[r][k] = (x[r][k] + bias[k] - mean) * rstd[r];
                if (x[r][k] * scale[k] + shift[k] <= V(0) || first + r >= end) error[r][k] = 0;
                grad_scale[k] += error[r][k] * x[r][k];
                grad_shift[k] += error[r][k];
                error[r][k] *= scale[k];
                sums[r] += error[r][k];
                sums[kRows + r] += error[r][k] * x[r][k];
            }
        }
        block_sums(sums, shared[buffer]);
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            if (first + r >= end) break;
#pragma unroll
            for (int k = 0; k < kCount; ++k) {
                error[r][k] = (error[r][k] - (sums[r] + x[r][k] * sums[kRows + r]) * inverse_width) * rstd[r];
                grad_bias[k] += error[r][k];
            }
            C::store(static_cast<T*>(args.grad_x) + (of_critic + first + r) * width, width, error[r]);
        }
    }
    if constexpr (kOfWeights) {
        const int64_t part = int64_t{gridDim.x} * args.num_critics * width;
        V* scratch = static_cast<V*>(args.scratch) + (blockIdx.x * args.num_critics + blockIdx.y) * width;
        C::store(scratch, width, grad_bias);
        C::store(scratch + part, width, grad_scale);
        C::store(scratch + 2 * part, width, grad_shift);
    }
}

struct Backward {
    template <typename C>
    static void run(const EnsembleNormReluBackwardArgs& args, cudaStream_t stream) {
        using V = typename C::V;
        // As many rows to a block as keep the number of parts in bounds.
        const int64_t tiles = blocks_for(args.batch, C::kRows);
        const int64_t rows = C::kRows * ((tiles + kEnsembleNormReluSplits - 1) / kEnsembleNormReluSplits);
        const dim3 blocks(blocks_for(args.batch, static_cast<int>(rows)),
                          static_cast<unsigned>(args.num_critics));
        if (args.grad_bias == nullptr) {
            ensemble_norm_relu_backward_kernel<C, false><<<blocks, kRowThreads, 0, stream>>>(args, rows);
            return;
        }
        ensemble_norm_relu_backward_kernel<C, true><<<blocks, kRowThreads, 0, stream>>>(args, rows);
        const int64_t count = args.num_critics * args.width;
        const V* part = static_cast<const V*>(args.scratch);
        PartialSums sums{{{part, blocks.x, count, args.grad_bias},
                          {part + blocks.x * count, blocks.x, count, args.grad_norm_weight},
                          {part + 2 * blocks.x * count, blocks.x, count, args.grad_norm_bias}},
                         3};
        launch_partial_sums<typename C::T, V>(sums, stream);
    }
};

}  // namespace

void ensemble_norm_relu_cuda(const EnsembleNormReluArgs& args, int device, void* stream) {
    if (args.num_critics * args.batch * args.width == 0) return;
    DeviceGuard guard(device);
    const bool packed = weights_packed(args) && pack_aligned(args.out, args.dtype);
    launch_for_rows<Forward>(args, args.dtype, args.width, packed, static_cast<cudaStream_t>(stream));
    cuda_check(cudaGetLastError(), "ensemble_norm_relu");
}

void ensemble_norm_relu_backward_cuda(const EnsembleNormReluBackwardArgs& args, int device, void* stream) {
    if (args.num_critics * args.batch * args.width == 0) return;
    DeviceGuard guard(device);
    const bool packed = weights_packed(args) && pack_aligned(args.grad_out, args.dtype) &&
                        pack_aligned(args.grad_x, args.dtype) && pack_aligned(args.scratch, DType::float32);
    launch_for_rows<Backward>(args, args.dtype, args.width, packed, static_cast<cudaStream_t>(stream));
    cuda_check(cudaGetLastError(), "ensemble_norm_relu_backward");
}

}  // namespace ibrl
