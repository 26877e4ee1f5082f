#include "kernels/spatial_embed_rows.cuh"

namespace ibrl {
namespace {

// The normalised value, LayerNorm's output and the gradient there, of one element.
template <typename V>
struct Element {
    V normal, value, error;
};

template <typename T, typename V>
__device__ Element<V> element(const SpatialEmbedBackwardArgs& args, int64_t p, int64_t b, int64_t c,
                              int64_t h) {
    const int64_t at = (p * args.batch + b) * args.channels + c;
    const T patch = static_cast<const T*>(args.patches)[(b * args.channels + c) * args.embed_dim + h];
    const T extra =
        static_cast<const T*>(args.extra)[p * args.extra_proposal_stride + b * args.extra_batch_stride + h];
    const T grad = static_cast<const T*>(
        args.grad_out)[p * args.grad_out_proposal_stride + b * args.grad_out_batch_stride + h];
    const V mean = static_cast<const V*>(args.mean)[at], rstd = static_cast<const V*>(args.rstd)[at];
    const V normal = (convert_from<V>(patch) + convert_from<V>(extra) - mean) * rstd;
    const V value =
        normal * static_cast<const V*>(args.norm_weight)[h] + static_cast<const V*>(args.norm_bias)[h];
    return {normal, value, convert_from<V>(grad)};
}

// Gradients of patches and extra: a block takes one batch entry, a warp one channel's row, proposal by
// proposal.
template <typename T, typename V, int kPerLane>
__global__ void __launch_bounds__(kThreads)
    spatial_embed_inputs_kernel(const __grid_constant__ SpatialEmbedBackwardArgs args) {
    extern __shared__ __align__(16) unsigned char memory[];
    V* shared = reinterpret_cast<V*>(memory);
    const int embed_dim = static_cast<int>(args.embed_dim), lane = threadIdx.x % 32;
    const int64_t b = blockIdx.x;
    const V* norm_weight = static_cast<const V*>(args.norm_weight);
    const V* channel_weight = static_cast<const V*>(args.channel_weight);

    for (int64_t p = 0; p < args.proposals; ++p) {
        V total[kPerLane] = {};
        for (int64_t c = threadIdx.x / 32; c < args.channels; c += kWarps) {
            V grad[kPerLane], normal[kPerLane], first = 0, second = 0;
#pragma unroll
            for (int k = 0; k < kPerLane; ++k) {
                const int h = lane + 32 * k;
                grad[k] = normal[k] = V(0);
                if (h >= embed_dim) continue;
                const Element<V> e = element<T, V>(args, p, b, c, h);
                normal[k] = e.normal;
                grad[k] =
                    e.value <= V(0) ? V(0) : e.error * channel_weight[c * embed_dim + h] * norm_weight[h];
                first += grad[k];
                second += grad[k] * normal[k];
            }
            first = warp_sum(first) / V(embed_dim);
            second = warp_sum(second) / V(embed_dim);
            const V rstd = static_cast<const V*>(args.rstd)[(p * args.batch + b) * args.channels + c];
            T* grad_row = static_cast<T*>(args.grad_patches);
            if (grad_row) grad_row += (b * args.channels + c) * embed_dim;
#pragma unroll
            for (int k = 0; k < kPerLane; ++k) {
                const int h = lane + 32 * k;
                if (h >= embed_dim) continue;
                const V back = (grad[k] - first - normal[k] * second) * rstd;
                total[k] += back;
                // The same lane wrote the earlier proposals' sum.
                if (grad_row)
                    grad_row[h] = ConvertTo<T>::from(p == 0 ? back : back + convert_from<V>(grad_row[h]));
            }
        }
        T* grad_extra = static_cast<T*>(args.grad_extra) + p * args.grad_extra_proposal_stride +
                        b * args.grad_extra_batch_stride;
        write_block_sum<T, V, kPerLane>(total, shared, grad_extra, embed_dim);
        __syncthreads();
    }
}

// Gradients of the weights of one channel and a block of columns; LayerNorm's are left per channel in
// scratch.
template <typename T, typename V>
__global__ void __launch_bounds__(kThreads)
    spatial_embed_weights_kernel(const __grid_constant__ SpatialEmbedBackwardArgs args) {
    const int64_t h = int64_t{blockIdx.x} * kThreads + threadIdx.x, c = blockIdx.y;
    if (h >= args.embed_dim) return;
    const int64_t at = c * args.embed_dim + h;
    const V weight = static_cast<const V*>(args.channel_weight)[at];
    V sum = 0, scale = 0, shift = 0;
    for (int64_t b = 0; b < args.batch; ++b)
        for (int64_t p = 0; p < args.proposals; ++p) {
            const Element<V> e = element<T, V>(args, p, b, c, h);
            const V grad = e.value <= V(0) ? V(0) : e.error * weight;
            sum += (e.value < V(0) ? V(0) : e.value) * e.error;
            scale += grad * e.normal;
            shift += grad;
        }
    static_cast<V*>(args.grad_channel_weight)[at] += sum;
    static_cast<V*>(args.scratch)[at] = scale;
    static_cast<V*>(args.scratch)[args.channels * args.embed_dim + at] = shift;
}

// LayerNorm's gradients: the sums over channels, in a fixed order.
template <typename V>
__global__ void __launch_bounds__(kThreads)
    spatial_embed_norm_kernel(const __grid_constant__ SpatialEmbedBackwardArgs args) {
    const int64_t h = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (h >= args.embed_dim) return;
    const V* scale = static_cast<const V*>(args.scratch);
    const V* shift = scale + args.channels * args.embed_dim;
    V scale_sum = 0, shift_sum = 0;
    for (int64_t c = 0; c < args.channels; ++c) {
        scale_sum += scale[c * args.embed_dim + h];
        shift_sum += shift[c * args.embed_dim + h];
    }
    static_cast<V*>(args.grad_norm_weight)[h] += scale_sum;
    static_cast<V*>(args.grad_norm_bias)[h] += shift_sum;
}

struct Launch {
    template <typename T, typename V, int kPerLane>
    static void run(const SpatialEmbedBackwardArgs& args, cudaStream_t stream) {
        const int bytes = static_cast<int>(kWarps * args.embed_dim * sizeof(V));
        allow_shared(spatial_embed_inputs_kernel<T, V, kPerLane>, bytes);
        spatial_embed_inputs_kernel<T, V, kPerLane>
            <<<static_cast<unsigned>(args.batch), kThreads, bytes, stream>>>(args);
        if (args.grad_channel_weight == nullptr) return;
        const unsigned columns = blocks_for(args.embed_dim, kThreads);
        spatial_embed_weights_kernel<T, V>
            <<<dim3(columns, static_cast<unsigned>(args.channels)), kThreads, 0, stream>>>(args);
        spatial_embed_norm_kernel<V><<<columns, kThreads, 0, stream>>>(args);
    }
};

}  // namespace

void spatial_embed_backward_cuda(const SpatialEmbedBackwardArgs& args, int device, void* stream) {
    launch_on_device<Launch>(args, device, stream);
}

}  // namespace ibrl
