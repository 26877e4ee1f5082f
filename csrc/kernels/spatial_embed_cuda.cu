#include "kernels/spatial_embed_layout.cuh"

namespace ibrl {
namespace {

// Batch entries that a block takes at a time, so that both
// use a channel's weights while they are in registers.
constexpr int kEntries = 2;

// A block reduces two batch entries of kProposals proposals of one critic: it holds a few channels' rows of
// both in registers and, while they last, fetches the next ones as it normalises these.
template <typename C, int kProposals>
__global__ void __launch_bounds__(kRowThreads, C::kBlocks)
    spatial_embed_kernel(const __grid_constant__ SpatialEmbedArgs args) {
    using T = typename C::T;
    using V = typename C::V;
    constexpr int kCount = C::kCount, kRows = C::kRows, kChannels = kRows / kEntries;
    __shared__ V shared[2][kRowWarps * kRows];
    const int width = static_cast<int>(args.embed_dim), channels = static_cast<int>(args.channels);
    const int64_t critic = blockIdx.z, stride = args.num_critics * args.embed_dim;
    const V inverse_width = V(1) / V(width);

    // A last entry or proposal without a partner is computed twice and written once.
    int64_t entry[kEntries], proposal[kProposals];
#pragma unroll
    for (int e = 0; e < kEntries; ++e) entry[e] = min(int64_t{blockIdx.x} * kEntries + e, args.batch - 1);
#pragma unroll
    for (int p = 0; p < kProposals; ++p)
        proposal[p] = min(int64_t{blockIdx.y} * kProposals + p, args.proposals - 1);

    // What belongs to the thread's columns for all channels.
    V scale[kCount], shift[kCount], added[kProposals][kEntries][kCount];
    V total[kProposals][kEntries][kCount] = {};
    C::load(static_cast<const V*>(args.norm_weight) + critic * width, width, scale);
    C::load(static_cast<const V*>(args.norm_bias) + critic * width, width, shift);
#pragma unroll
    for (int p = 0; p < kProposals; ++p)
#pragma unroll
        for (int e = 0; e < kEntries; ++e)
            C::load(static_cast<const T*>(args.extra) +
                        row_offset(args.extra_strides, critic, proposal[p], entry[e]),
                    width, added[p][e]);

    // Row r of a tile: channel r % kChannels of entry r / kChannels; channels past the last weigh nothing.
    typename C::Raw raw[kRows];
    const auto fetch = [&](int first) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const int c = min(first + r % kChannels, channels - 1);
            const int64_t row = entry[r / kChannels] * channels + c;
            C::load_raw(static_cast<const T*>(args.patches) + row * stride + critic * width, width, raw[r]);
        }
    };
    constexpr bool kAhead = kProposals == 1;
    if (kAhead && channels > 0) fetch(0);
    for (int first = 0; first < channels; first += kChannels) {
        V x[kRows][kCount], weight[kChannels][kCount];
        if (!kAhead) fetch(first);
#pragma unroll
        for (int r = 0; r < kRows; ++r) C::convert(raw[r], x[r]);
        if (kAhead && first + kChannels < channels) fetch(first + kChannels);
#pragma unroll
        for (int c = 0; c < kChannels; ++c) {
            const int64_t row = critic * channels + first + c;
            C::load(static_cast<const V*>(args.channel_weight) + row * width,
                    first + c < channels ? width : 0, weight[c]);
        }
#pragma unroll
        for (int p = 0; p < kProposals; ++p) {
            // Mean, then the mean square of what is left.
            V mean[kRows], rstd[kRows];
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                mean[r] = 0;
#pragma unroll
                for (int k = 0; k < kCount; ++k) mean[r] += x[r][k] + added[p][r / kChannels][k];
            }
            block_sums(mean, shared[0]);
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                mean[r] *= inverse_width;
                rstd[r] = 0;
#pragma unroll
                for (int k = 0; k < kCount; ++k) {
                    const V rest = x[r][k] + added[p][r / kChannels][k] - mean[r];
                    if (C::inside(k, width)) rstd[r] += rest * rest;
                }
            }
            block_sums(rstd, shared[1]);
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                rstd[r] = rsqrt(rstd[r] * inverse_width + V(args.eps));
                constexpr int kOf = kChannels;
                const int e = r / kOf, c = r % kOf;
#pragma unroll
                for (int k = 0; k < kCount; ++k) {
                    const V normal = (x[r][k] + added[p][e][k] - mean[r]) * rstd[r];
                    const V value = normal * scale[k] + shift[k];
                    total[p][e][k] += (value < V(0) ? V(0) : value) * weight[c][k];
                }
                if (int(threadIdx.x) == r && first + c < channels) {
                    const int64_t row = (critic * args.proposals + proposal[p]) * args.batch + entry[e];
                    static_cast<V*>(args.mean)[row * channels + first + c] = mean[r];
                    static_cast<V*>(args.rstd)[row * channels + first + c] = rstd[r];
                }
            }
        }
    }
#pragma unroll
    for (int p = 0; p < kProposals; ++p)
#pragma unroll
        for (int e = 0; e < kEntries; ++e)
            if (blockIdx.x * kEntries + e < args.batch && blockIdx.y * kProposals + p < args.proposals)
                C::store(
                    static_cast<T*>(args.out) + row_offset(args.out_strides, critic, proposal[p], entry[e]),
                    width, total[p][e]);
}

struct Launch {
    template <typename C, int kProposals>
    static void with_proposals(const SpatialEmbedArgs& args, cudaStream_t stream) {
        const dim3 blocks(blocks_for(args.batch, kEntries), blocks_for(args.proposals, kProposals),
                          static_cast<unsigned>(args.num_critics));
        spatial_embed_kernel<C, kProposals><<<blocks, kRowThreads, 0, stream>>>(args);
    }
    template <typename C>
    static void run(const SpatialEmbedArgs& args, cudaStream_t stream) {
        args.proposals == 1 ? with_proposals<C, 1>(args, stream) : with_proposals<C, 2>(args, stream);
    }
};

}  // namespace

void spatial_embed_cuda(const SpatialEmbedArgs& args, int device, void* stream) {
    if (args.num_critics * args.batch * args.proposals * args.embed_dim == 0) return;
    DeviceGuard guard(device);
    const bool packed = inputs_packed(args) && rows_packed(args.out, args.out_strides, args.dtype);
    launch_for_rows<Launch>(args, args.dtype, args.embed_dim, packed, static_cast<cudaStream_t>(stream));
    cuda_check(cudaGetLastError(), "spatial_embed");
}

}  // namespace ibrl
