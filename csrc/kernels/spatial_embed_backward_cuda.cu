#include "kernels/spatial_embed_layout.cuh"

namespace ibrl {
namespace {

// A block takes the rows of its channels and batch entries, some channels at a time.
template <typename C, bool kOfWeights>
__global__ void __launch_bounds__(kRowThreads, C::kBlocks)
    spatial_embed_backward_kernel(const __grid_constant__ SpatialEmbedBackwardArgs args,
                                  const SpatialEmbedPlan plan, const SpatialEmbedParts parts) {
    using T = typename C::T;
    using V = typename C::V;
    constexpr int kCount = C::kCount, kRows = C::kRows;
    __shared__ V shared[2][kRowWarps * 2 * kRows];
    // The weights of a block that keeps to its channels; each thread reads what it wrote.
    __shared__ V kept[kOfWeights ? kRows : 1][kOfWeights ? kCount * kRowThreads : 1];
    const int width = static_cast<int>(args.embed_dim), proposals = static_cast<int>(args.proposals);
    const int64_t critic = blockIdx.z, stride = args.num_critics * args.embed_dim;
    const int first_channel = static_cast<int>(blockIdx.y * plan.channels);
    const int last_channel = static_cast<int>(min(first_channel + plan.channels, args.channels));
    const int64_t first_entry = blockIdx.x * plan.entries;
    const int64_t last_entry = min(first_entry + plan.entries, args.batch);
    const V inverse_width = V(1) / V(width);

    V scale[kCount], shift[kCount], added[kCount], error[kCount], total[kCount];
    V grad_weight[kRows][kCount] = {}, grad_scale[kCount] = {}, grad_shift[kCount] = {};
    C::load(static_cast<const V*>(args.norm_weight) + critic * width, width, scale);
    C::load(static_cast<const V*>(args.norm_bias) + critic * width, width, shift);

    const auto load_weight = [&](int c, V(&weight)[kCount]) {
        C::load(static_cast<const V*>(args.channel_weight) + (critic * args.channels + c) * width,
                c < last_channel ? width : 0, weight);
    };
    if constexpr (kOfWeights)
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            V weight[kCount];
            load_weight(first_channel + r, weight);
            C::store(kept[r], kCount * kRowThreads, weight);
        }

    int buffer = 0;
    for (int64_t b = first_entry; b < last_entry; ++b)
        for (int p = 0; p < proposals; ++p) {
            C::load(static_cast<const T*>(args.extra) + row_offset(args.extra_strides, critic, p, b), width,
                    added);
            C::load(static_cast<const T*>(args.grad_out) + row_offset(args.grad_out_strides, critic, p, b),
                    width, error);
#pragma unroll
            for (int k = 0; k < kCount; ++k) total[k] = 0;
            const int64_t of_extra = (critic * proposals + p) * args.batch + b;
            for (int first = first_channel; first < last_channel; first += kRows, buffer ^= 1) {
                V x[kRows][kCount], sums[2 * kRows];
                // Channels past the last repeat it, weigh nothing and are not written.
                typename C::Raw raw[kRows];
#pragma unroll
                for (int r = 0; r < kRows; ++r) {
                    const int64_t row = b * args.channels + min(first + r, last_channel - 1);
                    C::load_raw(static_cast<const T*>(args.patches) + row * stride + critic * width, width,
                                raw[r]);
                }
#pragma unroll
                for (int r = 0; r < kRows; ++r) C::convert(raw[r], x[r]);

                // The means of g and of g * normalised, where g is the gradient at the normalised value.
                V rstd[kRows], grad[kRows][kCount];
#pragma unroll
                for (int r = 0; r < kRows; ++r) {
                    const int c = min(first + r, last_channel - 1);
                    const V mean = static_cast<const V*>(args.mean)[of_extra * args.channels + c];
                    rstd[r] = static_cast<const V*>(args.rstd)[of_extra * args.channels + c];
                    V weight[kCount];
                    if constexpr (kOfWeights)
                        C::load_shared(kept[r], weight);
                    else
                        load_weight(first + r, weight);
                    sums[r] = sums[kRows + r] = 0;
#pragma unroll
                    for (int k = 0; k < kCount; ++k) {
                        const V normal = (x[r][k] + added[k] - mean) * rstd[r];
                        const V value = normal * scale[k] + shift[k];
                        const V of_value = value <= V(0) ? V(0) : error[k] * weight[k];
                        grad[r][k] = of_value * scale[k];
                        sums[r] += grad[r][k];
                        sums[kRows + r] += grad[r][k] * normal;
                        if constexpr (kOfWeights) {
                            grad_weight[r][k] += (value < V(0) ? V(0) : value) * error[k];
                            grad_scale[k] += of_value * normal;
                            grad_shift[k] += of_value;
                        }
                        x[r][k] = normal;
                    }
                }
                block_sums(sums, shared[buffer]);

            // Back through LayerNorm.
#pragma unroll
                for (int r = 0; r < kRows; ++r) {
                    if (first + r >= last_channel) break;
                    V back[kCount], weight[kCount];
                    if constexpr (kOfWeights) C::load_shared(kept[r], weight);
#pragma unroll
                    for (int k = 0; k < kCount; ++k) {
                        V of_normal = grad[r][k];
                        if constexpr (kOfWeights) {
                            const V value = x[r][k] * scale[k] + shift[k];
                            of_normal = value <= V(0) ? V(0) : error[k] * weight[k] * scale[k];
                        }
                        back[k] =
                            (of_normal - (sums[r] + x[r][k] * sums[kRows + r]) * inverse_width) * rstd[r];
                        total[k] += back[k];
                    }
                    if (args.grad_patches == nullptr) continue;
                    T* grad_row = static_cast<T*>(args.grad_patches) +
                                  (b * args.channels + first + r) * stride + critic * width;
                    // The same thread wrote the earlier proposals' sum.
                    if (p > 0)
#pragma unroll
                        for (int k = 0; k < kCount; ++k)
                            if (C::inside(k, width)) back[k] += convert_from<V>(grad_row[C::at(k)]);
                    C::store(grad_row, width, back);
                }
            }
            if constexpr (kOfWeights) {
                const int64_t row = blockIdx.y * args.num_critics * proposals * args.batch + of_extra;
                C::store(static_cast<V*>(args.scratch) + row * width, width, total);
            } else {
                C::store(static_cast<T*>(args.grad_extra) + row_offset(args.grad_extra_strides, critic, p, b),
                         width, total);
            }
        }

    if constexpr (kOfWeights) {
        V* channel_part = static_cast<V*>(args.scratch) + parts.extra;
#pragma unroll
        for (int r = 0; r < kRows; ++r)
            if (first_channel + r < last_channel)
                C::store(channel_part +
                             ((blockIdx.x * args.num_critics + critic) * args.channels + first_channel + r) *
                                 width,
                         width, grad_weight[r]);
        const int64_t split = blockIdx.x * plan.channel_splits + blockIdx.y;
        V* norm_part = channel_part + parts.channel_weight + (split * args.num_critics + critic) * width;
        C::store(norm_part, width, grad_scale);
        C::store(norm_part + parts.norm, width, grad_shift);
    }
}

struct Launch {
    template <typename C>
    static void run(const SpatialEmbedBackwardArgs& args, cudaStream_t stream) {
        using V = typename C::V;
        const SpatialEmbedSizes sizes = sizes_of(args);
        const SpatialEmbedPlan plan(sizes);
        const SpatialEmbedParts parts(sizes, plan);
        const dim3 blocks(static_cast<unsigned>(plan.batch_splits),
                          static_cast<unsigned>(plan.channel_splits),
                          static_cast<unsigned>(args.num_critics));
        if (!sizes.of_weights) {
            spatial_embed_backward_kernel<C, false><<<blocks, kRowThreads, 0, stream>>>(args, plan, parts);
            return;
        }
        spatial_embed_backward_kernel<C, true><<<blocks, kRowThreads, 0, stream>>>(args, plan, parts);
        PartialSums sums = spatial_embed_sums<V>(args, plan, parts);
        launch_partial_sums<typename C::T, V>(sums, stream);
    }
};

}  // namespace

int64_t spatial_embed_scratch_cuda(const SpatialEmbedSizes& sizes) {
    const bool empty =
        sizes.num_critics * sizes.proposals * sizes.batch * sizes.channels * sizes.embed_dim == 0;
    return empty || !sizes.of_weights ? 0 : SpatialEmbedParts(sizes, SpatialEmbedPlan(sizes)).total();
}

void spatial_embed_backward_cuda(const SpatialEmbedBackwardArgs& args, int device, void* stream) {
    if (args.num_critics * args.proposals * args.batch * args.channels * args.embed_dim == 0) return;
    DeviceGuard guard(device);
    bool packed = inputs_packed(args) && rows_packed(args.grad_out, args.grad_out_strides, args.dtype) &&
                  rows_packed(args.grad_extra, args.grad_extra_strides, args.dtype);
    packed =
        packed && pack_aligned(args.grad_patches, args.dtype) && pack_aligned(args.scratch, DType::float32);
    launch_for_rows<Launch>(args, args.dtype, args.embed_dim, packed, static_cast<cudaStream_t>(stream));
    cuda_check(cudaGetLastError(), "spatial_embed_backward");
}

}  // namespace ibrl
