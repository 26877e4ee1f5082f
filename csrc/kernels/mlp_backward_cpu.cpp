#include "kernels/mlp.h"
#include "kernels/mlp_passes.h"

namespace ibrl {
namespace {

// One member's backward at a time: what it writes between its two passes stays in the cache.
struct MemberBackward {
    const MlpBackwardArgs& args;
    const MlpShape& shape;
    MlpLayout layout;
    int64_t member;

    template <typename V>
    V* panel_scratch(int64_t panel) const {
        return static_cast<V*>(args.scratch) + panel * layout.backward_panel;
    }
    template <typename V>
    V* slot_scratch(int64_t slot) const {
        return panel_scratch<V>(shape.panels()) + slot * layout.backward_slot;
    }
    template <typename V>
    const V* saved(int64_t panel) const {
        return static_cast<const V*>(args.saved) + (member * shape.panels() + panel) * layout.saved_unit;
    }
    // This member's part of a weight or vector, `size` values to a member.
    template <typename V>
    V* part(V* begin, int64_t size) const {
        return begin ? begin + member * size : nullptr;
    }
};

// First pass, panel by panel: the gradient goes back through the layers, and each product's stays in scratch.
struct Through {
    template <typename Isa, typename V>
    static IBRL_ALWAYS_INLINE void run(const MemberBackward& call, int64_t slot) {
        const int64_t panels = call.shape.panels(), slots = call.shape.slots;
        V* mask = call.slot_scratch<V>(slot);
        for (int64_t panel = slot * panels / slots; panel < (slot + 1) * panels / slots; ++panel)
            compute<Isa, V>(call, panel, mask);
    }

    template <typename Isa, typename V>
    static IBRL_ALWAYS_INLINE void compute(const MemberBackward& call, int64_t panel, V* mask) {
        const MlpBackwardArgs& args = call.args;
        const MlpShape& shape = call.shape;
        const MlpLayout& layout = call.layout;
        const PanelRows<V> rows(args, call.member, panel);
        V* scratch = call.panel_scratch<V>(panel);
        const V* saved = call.saved<V>(panel);
        const bool of_weights = args.num_gradients > 0;
        load_grad_out(call, rows, scratch + layout.delta[shape.num_layers - 1],
                      of_weights ? scratch + layout.sums[shape.num_layers - 1] : nullptr);

        for (int64_t l = shape.num_layers - 1; l >= 0; --l) {
            const MlpLayer& layer = shape.layers[l];
            // of the inputs, those whose gradient is wanted
            const int64_t begin = l > 0 || args.grad_x ? 0 : shape.x_dim;
            const int64_t end = l > 0 || args.grad_extra ? layer.in_dim : shape.x_dim;
            V* grad = scratch + (l > 0 ? layout.delta[l - 1] : layout.grad_input);
            const V* weight =
                call.part(static_cast<const V*>(layer.weight), layer.out_dim * layer.in_dim) + begin;
            if (begin < end)
                multiply<Isa, V>({weight, 1, layer.in_dim, 0, 1, layer.out_dim, layer.out_dim}, end - begin,
                                 scratch + layout.delta[l],
                                 {grad + begin * kLanes<V>, kLanes<V>, rows.lanes, nullptr});
            if (l == 0) break;

            const MlpLayer& hidden = shape.layers[l - 1];
            if (args.mask) rows.load_mask(layout.mask[l - 1], hidden.out_dim, mask);
            finish_hidden_backward<Isa, V>(
                {hidden.out_dim, rows.lanes,
                 call.part(static_cast<const V*>(hidden.norm_weight), hidden.out_dim),
                 call.part(static_cast<const V*>(hidden.norm_bias), hidden.out_dim),
                 args.mask ? mask : nullptr, saved + layout.kept[l - 1],
                 shape.layer_norm ? saved + layout.rstd[l - 1] : nullptr, grad,
                 of_weights ? scratch + layout.sums[l - 1] : nullptr});
        }
    }

    // The gradient of the last product as a panel, through tanh, with its sums over rows.
    template <typename V>
    static void load_grad_out(const MemberBackward& call, const PanelRows<V>& rows, V* panel, V* sums) {
        const MlpShape& shape = call.shape;
        const int64_t width = shape.layers[shape.num_layers - 1].out_dim;
        const int64_t from = (call.member * shape.rows() + rows.first) * width;
        const V *grad = static_cast<const V*>(call.args.grad_out) + from,
                *out = static_cast<const V*>(call.args.out) + from;
        for (int64_t o = 0; o < width; ++o) {
            V sum = 0;
            for (int64_t i = 0; i < kLanes<V>; ++i) {
                const int64_t at = i * width + o;
                V value = i < rows.count ? grad[at] : V(0);
                if (shape.tanh && i < rows.count) value *= V(1) - out[at] * out[at];
                panel[o * kLanes<V> + i] = value;
                sum += value;
            }
            if (sums) sums[o] = sum;
        }
    }
};

// Second pass: sums over the batch. An element of a result belongs to one task, which sums in order.
struct Sums {
    template <typename Isa, typename V>
    static IBRL_ALWAYS_INLINE void run(const MemberBackward& call, int64_t slot) {
        const MlpShape& shape = call.shape;
        int64_t task = 0;
        for (int64_t l = 0; l < call.args.num_gradients; ++l) {
            if (task++ % shape.slots == slot) sum_vectors<V>(call, l);
            for (int64_t column = 0; column < shape.layers[l].in_dim; column += kLanes<V>)
                if (task++ % shape.slots == slot) sum_products<Isa, V>(call, l, column, slot);
        }
        for (int64_t begin = 0; begin < shape.batch; begin += kLanes<V>)
            if (task++ % shape.slots == slot) sum_inputs<V>(call, begin);
    }

    // kLanes columns of a weight's gradient, from `column` on.
    template <typename Isa, typename V>
    static IBRL_ALWAYS_INLINE void sum_products(const MemberBackward& call, int64_t l, int64_t column,
                                                int64_t slot) {
        const MlpShape& shape = call.shape;
        const MlpLayer& layer = shape.layers[l];
        const int64_t count = std::min(kLanes<V>, layer.in_dim - column), panels = shape.panels();
        V* inputs = call.slot_scratch<V>(slot);
        for (int64_t panel = 0; panel < panels; ++panel)
            load_inputs<V>(call, l, column, count, panel, inputs + panel * kLanes<V> * kLanes<V>);
        V* grad = call.part(static_cast<V*>(call.args.gradients[l].weight), layer.out_dim * layer.in_dim);
        const int64_t last = shape.rows() - (panels - 1) * kLanes<V>;
        multiply<Isa, V>({call.panel_scratch<V>(0) + call.layout.delta[l], kLanes<V>, 1,
                          call.layout.backward_panel, panels, kLanes<V>, last},
                         layer.out_dim, inputs, {grad + column, layer.in_dim, count, nullptr});
    }

    // `count` columns of a layer's inputs, from `column` on, row by row: [kLanes, kLanes].
    template <typename V>
    static IBRL_ALWAYS_INLINE void load_inputs(const MemberBackward& call, int64_t l, int64_t column,
                                               int64_t count, int64_t panel, V* to) {
        if (l > 0) return load_activations(call, l - 1, column, count, panel, to);
        const PanelRows<V> rows(call.args, call.member, panel);
        const int64_t x_dim = call.shape.x_dim;
        for (int64_t i = 0; i < rows.count; ++i)
            for (int64_t c = 0; c < kLanes<V>; ++c) {
                const int64_t at = column + c;
                V value = 0;
                if (c < count) value = at < x_dim ? rows.x[i][at] : rows.extra[i][at - x_dim];
                to[i * kLanes<V> + c] = value;
            }
    }

    // The same for a hidden layer's activations, from what the forward kept.
    template <typename V>
    static IBRL_ALWAYS_INLINE void load_activations(const MemberBackward& call, int64_t l, int64_t column,
                                                    int64_t count, int64_t panel, V* to) {
        const int64_t first = panel * kLanes<V>, rows = std::min(kLanes<V>, call.shape.rows() - first);
        const V* features[kLanes<V>];
        for (int64_t i = 0; i < count; ++i)
            features[i] = call.saved<V>(panel) + call.layout.kept[l] + (column + i) * kLanes<V>;
        transpose<V>(features, count, rows, to);
        if (!call.shape.layer_norm) return;
        const MlpLayer& layer = call.shape.layers[l];
        V weight[kLanes<V>] = {}, bias[kLanes<V>] = {}, factor[kLanes<V>];
        const auto read = [&](const void* from, V* values) __attribute__((always_inline)) {
            std::memcpy(values, call.part(static_cast<const V*>(from), layer.out_dim) + column,
                        count * sizeof(V));
        };
        read(layer.norm_weight, weight), read(layer.norm_bias, bias);
        const V* mask = static_cast<const V*>(call.args.mask);
        for (int64_t i = 0; i < kLanes<V>; ++i) factor[i] = 1;
        for (int64_t b = 0; b < rows; ++b) {
            if (mask)
                std::memcpy(factor, mask + (first + b) * call.args.mask_stride + call.layout.mask[l] + column,
                            count * sizeof(V));
            V* values = to + b * kLanes<V>;
            for (int64_t i = 0; i < kLanes<V>; ++i) {
                const V value = (values[i] * weight[i] + bias[i]) * factor[i];
                values[i] = value < V(0) ? V(0) : value;
            }
        }
    }

    // Gradients of bias and LayerNorm: the panels' sums in order.
    template <typename V>
    static void sum_vectors(const MemberBackward& call, int64_t l) {
        const MlpGradient& gradient = call.args.gradients[l];
        const int64_t width = call.shape.layers[l].out_dim;
        void* const targets[] = {gradient.bias, gradient.norm_weight, gradient.norm_bias};
        for (int64_t which = 0; which < 3; ++which) {
            V* to = call.part(static_cast<V*>(targets[which]), width);
            if (!to) continue;
            for (int64_t o = 0; o < width; ++o) to[o] = 0;
            for (int64_t panel = 0; panel < call.shape.panels(); ++panel) {
                const V* sums = call.panel_scratch<V>(panel) + call.layout.sums[l] + which * width;
                for (int64_t o = 0; o < width; ++o) to[o] += sums[o];
            }
        }
    }

    // The gradients of some rows' inputs, which members and proposals that read the same one add up.
    template <typename V>
    static void sum_inputs(const MemberBackward& call, int64_t begin) {
        const MlpShape& shape = call.shape;
        const int64_t input = shape.inputs == 1 ? 0 : call.member;
        V* const grad_x = static_cast<V*>(call.args.grad_x);
        V* const grad_extra = static_cast<V*>(call.args.grad_extra);
        for (int64_t p = 0; p < shape.proposals; ++p)
            for (int64_t b = begin; b < std::min(begin + kLanes<V>, shape.batch); ++b) {
                const int64_t row = p * shape.batch + b;
                const V* from =
                    call.panel_scratch<V>(row / kLanes<V>) + call.layout.grad_input + row % kLanes<V>;
                const auto add = [&](V* to, int64_t feature, int64_t width, bool first) {
                    for (int64_t c = 0; c < width; ++c) {
                        const V value = from[(feature + c) * kLanes<V>];
                        to[c] = first ? value : to[c] + value;
                    }
                };
                if (grad_x)
                    add(grad_x + (input * shape.batch + b) * shape.x_dim, 0, shape.x_dim,
                        p == 0 && (call.member == 0 || shape.inputs > 1));
                if (grad_extra)
                    add(grad_extra + row * shape.extra_dim, shape.x_dim, shape.extra_dim, call.member == 0);
            }
    }
};

template <typename V>
void run_backward(const MlpBackwardArgs& args, int threads) {
    MemberBackward call{args, args.shape, mlp_layout(args.shape), 0};
    for (; call.member < args.shape.members; ++call.member) {
        run_slots<Through, V>(call, threads);
        run_slots<Sums, V>(call, threads);
    }
}

}  // namespace

void mlp_backward_cpu(const MlpBackwardArgs& args, int threads) {
    if (args.shape.is_float64)
        run_backward<double>(args, threads);
    else
        run_backward<float>(args, threads);
}

}  // namespace ibrl
