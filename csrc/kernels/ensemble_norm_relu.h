// A hidden layer of an ensemble after its matrix product: bias, LayerNorm and ReLU.
//   out[e, b, h] = ReLU(LayerNorm_h(x[e, b, :] + bias[e, :]))
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace ibrl {

// T is `dtype`; V is double where T is double, otherwise float. All contiguous.
struct EnsembleNormReluArgs {
    const void* x;            // [num_critics, batch, width] T
    const void* bias;         // [num_critics, width] V
    const void* norm_weight;  // [num_critics, width] V
    const void* norm_bias;    // [num_critics, width] V
    void* out;                // [num_critics, batch, width] T
    void* mean;               // [num_critics, batch] V; LayerNorm's, for the backward
    void* rstd;               // [num_critics, batch] V; one over the standard deviation
    int64_t num_critics, batch, width;
    double eps;
    DType dtype;
};

struct EnsembleNormReluBackwardArgs {
    const void* grad_out;  // [num_critics, batch, width] T
    const void* x;         // as in the forward, like the next five
    const void* bias;
    const void* norm_weight;
    const void* norm_bias;
    const void* mean;
    const void* rstd;
    void* grad_x;     // [num_critics, batch, width] T
    void* grad_bias;  // [num_critics, width] V; null together with the next two where they are not wanted
    void* grad_norm_weight;  // [num_critics, width] V
    void* grad_norm_bias;    // [num_critics, width] V
    void* scratch;           // [3 * kEnsembleNormReluSplits * num_critics * width] V, contents undefined
    int64_t num_critics, batch, width;
    DType dtype;
};

constexpr int64_t kEnsembleNormReluSplits = 64;  // parts, at most, that the sums over the batch are cut into

void ensemble_norm_relu_cpu(const EnsembleNormReluArgs& args, int threads);
void ensemble_norm_relu_cuda(const EnsembleNormReluArgs& args, int device, void* stream);
void ensemble_norm_relu_backward_cpu(const EnsembleNormReluBackwardArgs& args, int threads);
void ensemble_norm_relu_backward_cuda(const EnsembleNormReluBackwardArgs& args, int device, void* stream);

}  // namespace ibrl
