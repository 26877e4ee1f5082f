// How the CUDA backward of spatial_embed cuts its work, and where the blocks leave their parts.
#pragma once

#include <algorithm>

#include "kernels/row_columns.cuh"
#include "kernels/spatial_embed.h"

namespace ibrl {

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
        // Two blocks on each multiprocessor of a large chip; a constant, so that sums are the same on every
        // chip.
        constexpr int64_t kBlocks = 256;
        const int64_t others = std::max<int64_t>(1, channel_splits * sizes.members);
        batch_splits = sizes.of_weights ? std::clamp<int64_t>(kBlocks / others, 1, sizes.batch) : sizes.batch;
        entries = (sizes.batch + batch_splits - 1) / batch_splits;
        batch_splits = (sizes.batch + entries - 1) / entries;
    }
};

// The parts of scratch, one after the other: [channel_splits, members, proposals, batch, embed_dim],
// [batch_splits, members, channels, embed_dim] and twice [batch_splits * channel_splits, members, embed_dim].
struct SpatialEmbedParts {
    int64_t extra, channel_weight, norm;

    SpatialEmbedParts(const SpatialEmbedSizes& sizes, const SpatialEmbedPlan& plan)
        : extra(plan.channel_splits * sizes.members * sizes.proposals * sizes.batch * sizes.embed_dim),
          channel_weight(plan.batch_splits * sizes.members * sizes.channels * sizes.embed_dim),
          norm(plan.batch_splits * plan.channel_splits * sizes.members * sizes.embed_dim) {}
    int64_t total() const { return extra + channel_weight + 2 * norm; }
};

}  // namespace ibrl
