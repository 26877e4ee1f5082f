#include "kernels/ensemble_norm_relu_rows.cuh"

namespace ibrl {
namespace {

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

}  // namespace

void ensemble_norm_relu_cuda(const EnsembleNormReluArgs& args, int device, void* stream) {
    if (args.num_critics * args.batch * args.width == 0) return;
    DeviceGuard guard(device);
    const bool packed = weights_packed(args) && pack_aligned(args.out, args.dtype);
    launch_for_rows<Forward>(args, args.dtype, args.width, packed, static_cast<cudaStream_t>(stream));
    cuda_check(cudaGetLastError(), "ensemble_norm_relu");
}

}  // namespace ibrl
