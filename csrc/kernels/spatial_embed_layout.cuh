// Where the rows of spatial_embed's tensors lie for its CUDA kernels, how the backward cuts its work,
// and where the blocks leave their parts.
#pragma once

#include <algorithm>

#include "kernels/partial_sums.cuh"
#include "kernels/row_columns.cuh"
#include "kernels/spatial_embed.h"

namespace ibrl {

// The row of a critic, proposal and batch entry.
__device__ inline int64_t row_offset(const int64_t (&strides)[3], int64_t critic, int64_t proposal,
                                     int64_t entry) {
    return critic * strides[0] + proposal * strides[1] + entry * strides[2];
}

// Whether every row of this tensor, null where it is not wanted, starts where packs of four can be read.
inline bool rows_packed(const void* tensor, const int64_t (&strides)[3], DType dtype) {
    return pack_aligned(tensor, dtype) && strides[0] % 4 == 0 && strides[1] % 4 == 0 && strides[2] % 4 == 0;
}

// The same for what forward and backward both read.
template <typename Args>
bool inputs_packed(const Args& args) {
    return args.embed_dim % 4 == 0 && pack_aligned(args.patches, args.dtype) &&
           rows_packed(args.extra, args.extra_strides, args.dtype) &&
           pack_aligned(args.norm_weight, DType::float32) && pack_aligned(args.norm_bias, DType::float32) &&
           pack_aligned(args.channel_weight, DType::float32);
}

// With gradients of the weights a block keeps to as many channels as it has rows and
// passes over a share of the batch: the weights' sums stay in registers, the sums over channels go to
// scratch. Without them a block takes one batch entry through all channels, and nothing is left to add up.
struct SpatialEmbedPlan {
    int64_t channel_splits, batch_splits;
    int64_t channels, entries;  // of a block

    explicit SpatialEmbedPlan(const SpatialEmbedSizes& sizes) {
        const int bytes = sizes.dtype == DType::bfloat16 ? 2 : sizes.dtype == DType::float32 ? 4 : 8;
        channels = sizes.of_weights ? rows_for(columns_for(sizes.embed_dim), bytes) : sizes.channels;
        channel_splits = sizes.of_weights ? (sizes.channels + channels - 1) / channels : 1;
        // Two blocks on each multiprocessor of a large chip; a
        // constant, so that sums are the same on every chip.
        constexpr int64_t kBlocks = 256;
        const int64_t others = std::max<int64_t>(1, channel_splits * sizes.num_critics);
        batch_splits = sizes.of_weights ? std::clamp<int64_t>(kBlocks / others, 1, sizes.batch) : sizes.batch;
        entries = (sizes.batch + batch_splits - 1) / batch_splits;
        batch_splits = (sizes.batch + entries - 1) / entries;
    }
};

// The parts of scratch, one after the other: [channel_splits, num_critics, proposals, batch, embed_dim],
// [batch_splits, num_critics, channels, embed_dim] and twice
// [batch_splits * channel_splits, num_critics, embed_dim].
struct SpatialEmbedParts {
    int64_t extra, channel_weight, norm;

    SpatialEmbedParts(const SpatialEmbedSizes& sizes, const SpatialEmbedPlan& plan)
        : extra(plan.channel_splits * sizes.num_critics * sizes.proposals * sizes.batch * sizes.embed_dim),
          channel_weight(plan.batch_splits * sizes.num_critics * sizes.channels * sizes.embed_dim),
          norm(plan.batch_splits * plan.channel_splits * sizes.num_critics * sizes.embed_dim) {}
    int64_t total() const { return extra + channel_weight + 2 * norm; }
};

inline SpatialEmbedSizes sizes_of(const SpatialEmbedBackwardArgs& args) {
    return {args.num_critics,
            args.proposals,
            args.batch,
            args.channels,
            args.embed_dim,
            args.dtype,
            args.grad_channel_weight != nullptr};
}

// What is left to add up when the blocks are done.
template <typename V>
PartialSums spatial_embed_sums(const SpatialEmbedBackwardArgs& args, const SpatialEmbedPlan& plan,
                               const SpatialEmbedParts& parts) {
    const int64_t rows = args.num_critics * args.embed_dim, splits = plan.batch_splits * plan.channel_splits;
    const V* of_extra = static_cast<const V*>(args.scratch);
    const V* of_channels = of_extra + parts.extra;
    const V* of_norm = of_channels + parts.channel_weight;
    const auto& strides = args.grad_extra_strides;
    return {{{of_extra,
              plan.channel_splits,
              parts.extra / plan.channel_splits,
              args.grad_extra,
              false,
              {args.num_critics, args.proposals, args.batch},
              {strides[0], strides[1], strides[2]},
              args.embed_dim},
             {of_channels, plan.batch_splits, rows * args.channels, args.grad_channel_weight, true},
             {of_norm, splits, rows, args.grad_norm_weight, true},
             {of_norm + parts.norm, splits, rows, args.grad_norm_bias, true}},
            4};
}

}  // namespace ibrl
