#include "kernels/spatial_embed_rows.cuh"

namespace ibrl {
namespace {

// A block reduces one batch entry of one proposal: each warp holds a channel's row in registers, normalises
// it and adds it, weighted, to its own sum.
template <typename T, typename V, int kPerLane>
__global__ void __launch_bounds__(kThreads)
    spatial_embed_kernel(const __grid_constant__ SpatialEmbedArgs args) {
    extern __shared__ __align__(16) unsigned char memory[];
    V* shared = reinterpret_cast<V*>(memory);
    const int embed_dim = static_cast<int>(args.embed_dim), lane = threadIdx.x % 32;
    const int64_t b = blockIdx.x, p = blockIdx.y;
    const T* extra =
        static_cast<const T*>(args.extra) + p * args.extra_proposal_stride + b * args.extra_batch_stride;
    const V* norm_weight = static_cast<const V*>(args.norm_weight);
    const V* norm_bias = static_cast<const V*>(args.norm_bias);

    V total[kPerLane] = {};
    for (int64_t c = threadIdx.x / 32; c < args.channels; c += kWarps) {
        const T* row = static_cast<const T*>(args.patches) + (b * args.channels + c) * embed_dim;
        const V* weight = static_cast<const V*>(args.channel_weight) + c * embed_dim;
        // Mean, then the mean square of what is left.
        V x[kPerLane], sum = 0, square = 0;
#pragma unroll
        for (int k = 0; k < kPerLane; ++k) {
            const int h = lane + 32 * k;
            x[k] = h < embed_dim ? convert_from<V>(row[h]) + convert_from<V>(extra[h]) : V(0);
            sum += x[k];
        }
        const V mean = warp_sum(sum) / V(embed_dim);
#pragma unroll
        for (int k = 0; k < kPerLane; ++k) {
            x[k] -= mean;
            square += lane + 32 * k < embed_dim ? x[k] * x[k] : V(0);
        }
        const V rstd = V(1) / sqrt(warp_sum(square) / V(embed_dim) + V(args.eps));
#pragma unroll
        for (int k = 0; k < kPerLane; ++k) {
            const int h = lane + 32 * k;
            if (h >= embed_dim) continue;
            const V value = x[k] * rstd * norm_weight[h] + norm_bias[h];
            total[k] += (value < V(0) ? V(0) : value) * weight[h];
        }
        if (lane == 0) {
            const int64_t at = (p * args.batch + b) * args.channels + c;
            static_cast<V*>(args.mean)[at] = mean;
            static_cast<V*>(args.rstd)[at] = rstd;
        }
    }
    T* out = static_cast<T*>(args.out) + p * args.out_proposal_stride + b * args.out_batch_stride;
    write_block_sum<T, V, kPerLane>(total, shared, out, embed_dim);
}

struct Launch {
    template <typename T, typename V, int kPerLane>
    static void run(const SpatialEmbedArgs& args, cudaStream_t stream) {
        const int bytes = static_cast<int>(kWarps * args.embed_dim * sizeof(V));
        const dim3 blocks(static_cast<unsigned>(args.batch), static_cast<unsigned>(args.proposals));
        allow_shared(spatial_embed_kernel<T, V, kPerLane>, bytes);
        spatial_embed_kernel<T, V, kPerLane><<<blocks, kThreads, bytes, stream>>>(args);
    }
};

}  // namespace

void spatial_embed_cuda(const SpatialEmbedArgs& args, int device, void* stream) {
    launch_on_device<Launch>(args, device, stream);
}

}  // namespace ibrl
