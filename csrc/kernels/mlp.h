// A whole MLP, or an ensemble of them, in one call: linear, (LayerNorm), (dropout), ReLU per hidden layer, a last
// linear layer, (tanh). Rows of a batch are cut into panels of kLanes; a panel lies feature by feature, the same
// feature of all its rows behind each other, so that weights are read as they lie, and LayerNorm's sums over
// features are sums of vectors. A panel of one member is a unit; units are computed apart from each other.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ibrl {

constexpr int64_t kMaxMlpLayers = 16;

// Rows of a panel.
template <typename V>
constexpr int64_t kLanes = 128 / static_cast<int64_t>(sizeof(V));

// One linear layer with what follows it; V is float or double, all contiguous.
struct MlpLayer {
    const void* weight;       // [num_members, out_dim, in_dim] V
    const void* bias;         // [num_members, out_dim] V
    const void* norm_weight;  // [num_members, out_dim] V, LayerNorm's; null without, and for the last layer
    const void* norm_bias;    // [num_members, out_dim] V
    int64_t in_dim, out_dim;
};

// What a call computes. Row p * batch + b of member m reads x[m or 0, b] and, behind it, extra[p, b].
struct MlpShape {
    MlpLayer layers[kMaxMlpLayers];
    int64_t num_layers, members, inputs, proposals, batch, x_dim, extra_dim, slots;
    bool is_float64, layer_norm, tanh;

    int64_t rows() const { return proposals * batch; }
    int64_t panels() const {
        const int64_t lanes = is_float64 ? kLanes<double> : kLanes<float>;
        return (rows() + lanes - 1) / lanes;
    }
    int64_t units() const { return members * panels(); }
    int64_t max_width() const {
        int64_t width = layers[0].in_dim;
        for (int64_t l = 0; l < num_layers; ++l) width = std::max(width, layers[l].out_dim);
        return width;
    }
};

struct MlpArgs {
    MlpShape shape;
    const void* x;                     // [inputs, batch, x_dim] V; inputs is 1 (shared) or members
    const void* extra;                 // [proposals, batch, extra_dim] V, or null
    const void* mask;                  // [rows, sum of hidden widths] V, or null; multiplies in front of ReLU
    const int64_t* subset;             // [members]: which of the weights' members, or null for all
    void* out;                         // [members, rows, last out_dim] V
    void* saved;                       // [units * saved_unit] V for the backward, or null
    void* scratch;                     // [slots * forward_slot] V
    int64_t saved_size, scratch_size;  // elements that there are
    int64_t x_strides[2], extra_strides[2], mask_stride;  // elements; the last dimension's is 1
    int64_t num_members;
    double eps;
};

// Gradients of a layer's weights, as these lie in memory.
struct MlpGradient {
    void* weight;
    void* bias;
    void* norm_weight;
    void* norm_bias;
};

struct MlpBackwardArgs {
    MlpShape shape;
    const void* x;  // as in the forward, like the next two
    const void* extra;
    const void* mask;
    const void* out;       // what the forward wrote
    const void* saved;     // what the forward saved
    const void* grad_out;  // [members, rows, last out_dim] V
    void* grad_x;          // [inputs, batch, x_dim] V, or null where it is not wanted
    void* grad_extra;      // [proposals, batch, extra_dim] V, or null
    void* scratch;         // [panels * backward_panel + slots * backward_slot] V
    int64_t saved_size, scratch_size;
    MlpGradient gradients[kMaxMlpLayers];
    int64_t num_gradients;  // num_layers, or 0 where no weight wants one
    int64_t x_strides[2], extra_strides[2], mask_stride;
};

// Where things lie in a unit's share of `saved`, and in a panel's of the backward's scratch, in elements.
struct MlpLayout {
    // of a hidden layer the forward keeps LayerNorm's normalised values, without LayerNorm the activations
    int64_t kept[kMaxMlpLayers], rstd[kMaxMlpLayers];
    int64_t delta[kMaxMlpLayers], sums[kMaxMlpLayers], mask[kMaxMlpLayers];
    int64_t grad_input, saved_unit = 0, backward_panel = 0;
    int64_t forward_slot, backward_slot;
};

inline MlpLayout mlp_layout(const MlpShape& shape) {
    MlpLayout layout;
    const int64_t lanes = shape.is_float64 ? kLanes<double> : kLanes<float>;
    int64_t features = 0;
    for (int64_t l = 0; l < shape.num_layers; ++l) {
        const int64_t panel = shape.layers[l].out_dim * lanes;
        layout.mask[l] = features, features += shape.layers[l].out_dim;
        // the backward: the gradient of what the linear layer gives, sums over the panel's rows
        layout.delta[l] = layout.backward_panel, layout.backward_panel += panel;
        layout.sums[l] = layout.backward_panel, layout.backward_panel += 3 * shape.layers[l].out_dim;
        if (l + 1 == shape.num_layers) break;
        layout.kept[l] = layout.saved_unit, layout.saved_unit += panel;
        if (shape.layer_norm) layout.rstd[l] = layout.saved_unit, layout.saved_unit += lanes;
    }
    layout.grad_input = layout.backward_panel, layout.backward_panel += shape.layers[0].in_dim * lanes;
    // input, two activations, a mask; for the backward a mask, or a panel of inputs for all rows
    layout.forward_slot = 4 * shape.max_width() * lanes;
    layout.backward_slot = std::max(shape.max_width(), shape.rows()) * lanes;
    return layout;
}

int64_t mlp_cpu(const MlpArgs& args, int threads);
void mlp_backward_cpu(const MlpBackwardArgs& args, int threads);

}  // namespace ibrl
