// The pixel critic's reduction of one critic's patch features: LayerNorm, ReLU, weighted sum over the
// channels.
//   out[p, b, h] = sum_c channel_weight[c, h] * ReLU(LayerNorm_h(patches[b, c, :] + extra[p, b, :]))
// The normalised values [batch, channels, embed_dim] exist in registers only, forward and backward.
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace ibrl {

// T is `dtype`; V is double where T is double, otherwise float. Rows [embed_dim] are contiguous everywhere.
struct SpatialEmbedArgs {
    const void* patches;         // [batch, channels, embed_dim] T, contiguous
    const void* extra;           // [proposals, batch, embed_dim] T
    const void* norm_weight;     // [embed_dim] V
    const void* norm_bias;       // [embed_dim] V
    const void* channel_weight;  // [channels, embed_dim] V, contiguous
    void* out;                   // [proposals, batch, embed_dim] T
    void* mean;                  // [proposals, batch, channels] V, contiguous; LayerNorm's, for the backward
    void* rstd;  // [proposals, batch, channels] V, contiguous; one over the standard deviation
    int64_t proposals, batch, channels, embed_dim;
    int64_t extra_proposal_stride, extra_batch_stride;  // elements
    int64_t out_proposal_stride, out_batch_stride;      // elements
    double eps;
    DType dtype;
};

// A gradient that is not wanted is null; those of the weights are added to what is there.
struct SpatialEmbedBackwardArgs {
    const void* grad_out;        // [proposals, batch, embed_dim] T
    const void* patches;         // as in the forward, like the next six
    const void* extra;           //
    const void* norm_weight;     //
    const void* norm_bias;       //
    const void* channel_weight;  //
    const void* mean;            //
    const void* rstd;            //
    void* grad_extra;            // [proposals, batch, embed_dim] T
    void* grad_patches;          // [batch, channels, embed_dim] T, contiguous, or null
    void* grad_norm_weight;      // [embed_dim] V; null together with the next two
    void* grad_norm_bias;        // [embed_dim] V
    void* grad_channel_weight;   // [channels, embed_dim] V, contiguous
    void* scratch;               // [2 * channels * max(embed_dim, proposals * batch)] V, contents undefined
    int64_t proposals, batch, channels, embed_dim;
    int64_t grad_out_proposal_stride, grad_out_batch_stride;      // elements
    int64_t extra_proposal_stride, extra_batch_stride;            // elements
    int64_t grad_extra_proposal_stride, grad_extra_batch_stride;  // elements
    DType dtype;
};

constexpr int64_t kMaxSpatialEmbedDim = 2048;  // of the CUDA kernels: a row is held by one warp

void spatial_embed_cpu(const SpatialEmbedArgs& args, int threads);
void spatial_embed_cuda(const SpatialEmbedArgs& args, int device, void* stream);
void spatial_embed_backward_cpu(const SpatialEmbedBackwardArgs& args, int threads);
void spatial_embed_backward_cuda(const SpatialEmbedBackwardArgs& args, int device, void* stream);

}  // namespace ibrl
