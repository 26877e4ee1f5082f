#include "common/cuda_check.cuh"
#include "kernels/spatial_embed.h"

namespace ibrl {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

template <typename V>
__device__ V warp_sum(V value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
    return value;
}

// Adds up what the warps hold for the same columns, and writes it; `shared` has room for kWarps rows.
template <typename T, typename V, int kPerLane>
__device__ void write_block_sum(const V (&total)[kPerLane], V* shared, T* out, int embed_dim) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int k = 0; k < kPerLane; ++k)
        if (lane + 32 * k < embed_dim) shared[warp * embed_dim + lane + 32 * k] = total[k];
    __syncthreads();
    for (int h = threadIdx.x; h < embed_dim; h += kThreads) {
        V sum = 0;
        for (int w = 0; w < kWarps; ++w) sum += shared[w * embed_dim + h];
        out[h] = ConvertTo<T>::from(sum);
    }
}

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

// More than 48 KiB of shared memory has to be asked for.
template <typename Kernel>
void allow_shared(Kernel kernel, int bytes) {
    if (bytes > 48 * 1024)
        cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                   "spatial_embed");
}

template <typename T, typename V, int kPerLane>
void launch(const SpatialEmbedArgs& args, cudaStream_t stream) {
    const int bytes = static_cast<int>(kWarps * args.embed_dim * sizeof(V));
    const dim3 blocks(static_cast<unsigned>(args.batch), static_cast<unsigned>(args.proposals));
    allow_shared(spatial_embed_kernel<T, V, kPerLane>, bytes);
    spatial_embed_kernel<T, V, kPerLane><<<blocks, kThreads, bytes, stream>>>(args);
}

template <typename T, typename V, int kPerLane>
void launch(const SpatialEmbedBackwardArgs& args, cudaStream_t stream) {
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

// A lane holds embed_dim / 32 elements of a row.
template <typename T, typename V, typename Args>
void launch_for_width(const Args& args, cudaStream_t stream) {
    if (args.embed_dim <= 256) return launch<T, V, 8>(args, stream);
    if (args.embed_dim <= 1024) return launch<T, V, 32>(args, stream);
    if (args.embed_dim <= kMaxSpatialEmbedDim) return launch<T, V, 64>(args, stream);
    throw std::invalid_argument("spatial_embed: embed_dim is too large for the CUDA kernel");
}

template <typename Args>
void run(const Args& args, int device, void* stream) {
    if (args.batch == 0 || args.proposals == 0 || args.embed_dim == 0) return;
    DeviceGuard guard(device);
    const auto on = static_cast<cudaStream_t>(stream);
    switch (args.dtype) {
        case DType::float64:
            launch_for_width<double, double>(args, on);
            break;
        case DType::bfloat16:
            launch_for_width<bfloat16, float>(args, on);
            break;
        default:
            launch_for_width<float, float>(args, on);
    }
    cuda_check(cudaGetLastError(), "spatial_embed");
}

}  // namespace

void spatial_embed_cuda(const SpatialEmbedArgs& args, int device, void* stream) {
    run(args, device, stream);
}
void spatial_embed_backward_cuda(const SpatialEmbedBackwardArgs& args, int device, void* stream) {
    run(args, device, stream);
}

}  // namespace ibrl
