// The pixel critics' reduction of their patch features: LayerNorm, ReLU, weighted sum over the channels.
//   hidden[e, p, b, c, h] = ReLU(LayerNorm_h(patches[b, c, e, :] + extra[e, p, b, :]))
//   out[e, p, b, h] = sum_c channel_weight[e, c, h] * hidden[e, p, b, c, h]
// The normalised values exist in registers only, forward and backward.
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace ibrl {

// T is `dtype`; V is double where T is double, otherwise float. Rows [embed_dim] are contiguous everywhere.
struct SpatialEmbedArgs {
    const void* patches;         // [batch, channels, num_critics, embed_dim] T, contiguous
    const void* extra;           // [num_critics, proposals, batch, embed_dim] T
    const void* norm_weight;     // [num_critics, embed_dim] V, contiguous
    const void* norm_bias;       // [num_critics, embed_dim] V, contiguous
    const void* channel_weight;  // [num_critics, channels, embed_dim] V, contiguous
    void* out;                   // [num_critics, proposals, batch, embed_dim] T
    void* mean;  // [num_critics, proposals, batch, channels] V, contiguous; LayerNorm's, for the backward
    void* rstd;  // as mean; one over the standard deviation
    int64_t num_critics, proposals, batch, channels, embed_dim;
    int64_t extra_strides[3], out_strides[3];  // elements: critic, proposal, batch
    double eps;
    DType dtype;
};

// A gradient that is not wanted is null; those of the weights are added to what is there.
struct SpatialEmbedBackwardArgs {
    const void* grad_out;        // [num_critics, proposals, batch, embed_dim] T
    const void* patches;         // as in the forward, like the next six
    const void* extra;           //
    const void* norm_weight;     //
    const void* norm_bias;       //
    const void* channel_weight;  //
    const void* mean;            //
    const void* rstd;            //
    void* grad_extra;            // [num_critics, proposals, batch, embed_dim] T
    void* grad_patches;          // [batch, channels, num_critics, embed_dim] T, contiguous, or null
    void* grad_norm_weight;      // [num_critics, embed_dim] V, contiguous; null together with the next two
    void* grad_norm_bias;        // [num_critics, embed_dim] V, contiguous
    void* grad_channel_weight;   // [num_critics, channels, embed_dim] V, contiguous
    void* scratch;  // [spatial_embed_scratch_{cpu,cuda}()] V, 16-byte aligned, contents undefined
    int64_t num_critics, proposals, batch, channels, embed_dim;
    // elements: critic, proposal, batch
    int64_t grad_out_strides[3], extra_strides[3], grad_extra_strides[3];
    DType dtype;
};

// What a backward's scratch depends on.
struct SpatialEmbedSizes {
    int64_t num_critics, proposals, batch, channels, embed_dim;
    DType dtype;
    bool of_weights;  // whether gradients of the weights are wanted
};

int64_t spatial_embed_scratch_cpu(const SpatialEmbedSizes& sizes);  // elements
int64_t spatial_embed_scratch_cuda(const SpatialEmbedSizes& sizes);

void spatial_embed_cpu(const SpatialEmbedArgs& args, int threads);
void spatial_embed_cuda(const SpatialEmbedArgs& args, int device, void* stream);
void spatial_embed_backward_cpu(const SpatialEmbedBackwardArgs& args, int threads);
void spatial_embed_backward_cuda(const SpatialEmbedBackwardArgs& args, int device, void* stream);

}  // namespace ibrl
