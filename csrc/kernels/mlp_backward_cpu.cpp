#include "kernels/mlp.h"

#include "kernels/mlp_passes.h"

namespace ibrl {
namespace {

template <typename V>
V* unit_scratch(const MlpBackwardArgs& args, const MlpLayout& layout, int64_t position, int64_t panel) {
    return static_cast<V*>(args.scratch) + (position * args.shape.panels() + panel) * layout.backward_unit;
}
template <typename V>
const V* unit_saved(const MlpBackwardArgs& args, const MlpLayout& layout, int64_t position, int64_t panel) {
    return static_cast<const V*>(args.saved) + (position * args.shape.panels() + panel) * layout.saved_unit;
}
template <typename V>
V* slot_scratch(const MlpBackwardArgs& args, const MlpLayout& layout, int64_t slot) {
    return static_cast<V*>(args.scratch) + args.shape.units() * layout.backward_unit +
           slot * layout.backward_slot;
}

// First pass, unit by unit: the gradient goes back through the layers, and each product's stays in scratch.
struct Through {
    template <typename Isa, typename V>
    static IBRL_ALWAYS_INLINE void run(const MlpBackwardArgs& args, int64_t slot) {
        const MlpShape& shape = args.shape;
        const MlpLayout layout = mlp_layout(shape);
        const int64_t units = shape.units(), panels = shape.panels();
        V* mask = slot_scratch<V>(args, layout, slot);
        for (int64_t unit = slot * units / shape.slots; unit < (slot + 1) * units / shape.slots; ++unit)
            compute<Isa, V>(args, layout, unit / panels, unit % panels, mask);
    }

    template <typename Isa, typename V>
    static IBRL_ALWAYS_INLINE void compute(const MlpBackwardArgs& args, const MlpLayout& layout,
                                           int64_t position, int64_t panel, V* mask) {
        const MlpShape& shape = args.shape;
        const PanelRows<V> rows(args, position, panel);
        V* scratch = unit_scratch<V>(args, layout, position, panel);
        const V* saved = unit_saved<V>(args, layout, position, panel);
        const bool of_weights = args.num_gradients > 0;
        load_grad_out(args, rows, position, scratch + layout.delta[shape.num_layers - 1],
                      of_weights ? scratch + layout.sums[shape.num_layers - 1] : nullptr);

        for (int64_t l = shape.num_layers - 1; l >= 0; --l) {
            const MlpLayer& layer = shape.layers[l];
            // of the inputs, those whose gradient is wanted
            const int64_t begin = l > 0 || args.grad_x ? 0 : shape.x_dim;
            const int64_t end = l > 0 || args.grad_extra ? layer.in_dim : shape.x_dim;
            V* grad = scratch + (l > 0 ? layout.delta[l - 1] : layout.grad_input);
            const V* weight =
                static_cast<const V*>(layer.weight) + position * layer.out_dim * layer.in_dim + begin;
            if (begin < end)
                multiply<Isa, V>({weight, 1, layer.in_dim, 0, 1, layer.out_dim, layer.out_dim}, end - begin,
                                 scratch + layout.delta[l],
                                 {grad + begin * kLanes<V>, kLanes<V>, rows.lanes, nullptr});
            if (l == 0) break;

            const MlpLayer& hidden = shape.layers[l - 1];
            if (args.mask) rows.load_mask(layout.mask[l - 1], hidden.out_dim, mask);
            const V* norm_weight = static_cast<const V*>(hidden.norm_weight);
            finish_hidden_backward<Isa, V>(
                {hidden.out_dim, rows.lanes, norm_weight ? norm_weight + position * hidden.out_dim : nullptr,
                 args.mask ? mask : nullptr, saved + layout.act[l - 1],
                 norm_weight ? saved + layout.normalised[l - 1] : nullptr,
                 norm_weight ? saved + layout.rstd[l - 1] : nullptr, grad,
                 of_weights ? scratch + layout.sums[l - 1] : nullptr});
        }
    }

    // The gradient of the last product as a panel, through tanh, with its sums over rows.
    template <typename V>
    static void load_grad_out(const MlpBackwardArgs& args, const PanelRows<V>& rows, int64_t position,
                              V* panel, V* sums) {
        const MlpShape& shape = args.shape;
        const int64_t width = shape.layers[shape.num_layers - 1].out_dim;
        const int64_t from = (position * shape.rows() + rows.first) * width;
        const V *grad = static_cast<const V*>(args.grad_out) + from,
                *out = static_cast<const V*>(args.out) + from;
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
    static IBRL_ALWAYS_INLINE void run(const MlpBackwardArgs& args, int64_t slot) {
        const MlpShape& shape = args.shape;
        const MlpLayout layout = mlp_layout(shape);
        int64_t task = 0;
        for (int64_t position = 0; position < shape.members; ++position)
            for (int64_t l = 0; l < args.num_gradients; ++l) {
                if (task++ % shape.slots == slot) sum_vectors<V>(args, layout, position, l);
                for (int64_t column = 0; column < shape.layers[l].in_dim; column += kLanes<V>)
                    if (task++ % shape.slots == slot)
                        sum_products<Isa, V>(args, layout, position, l, column, slot);
            }
        const int64_t blocks = (shape.batch + kLanes<V> - 1) / kLanes<V>;
        for (int64_t input = 0; args.grad_x && input < shape.inputs; ++input)
            for (int64_t block = 0; block < blocks; ++block)
                if (task++ % shape.slots == slot) sum_grad_x<V>(args, layout, input, block * kLanes<V>);
        for (int64_t proposal = 0; args.grad_extra && proposal < shape.proposals; ++proposal)
            for (int64_t block = 0; block < blocks; ++block)
                if (task++ % shape.slots == slot)
                    sum_grad_extra<V>(args, layout, proposal, block * kLanes<V>);
    }

    // kLanes columns of a weight's gradient, from `column` on.
    template <typename Isa, typename V>
    static IBRL_ALWAYS_INLINE void sum_products(const MlpBackwardArgs& args, const MlpLayout& layout,
                                                int64_t position, int64_t l, int64_t column, int64_t slot) {
        const MlpShape& shape = args.shape;
        const MlpLayer& layer = shape.layers[l];
        const int64_t count = std::min(kLanes<V>, layer.in_dim - column);
        V* inputs = slot_scratch<V>(args, layout, slot);
        for (int64_t panel = 0; panel < shape.panels(); ++panel)
            load_inputs<V>(args, layout, position, l, column, count, panel,
                           inputs + panel * kLanes<V> * kLanes<V>);
        V* grad = static_cast<V*>(args.gradients[l].weight) + position * layer.out_dim * layer.in_dim + column;
        const V* delta = unit_scratch<V>(args, layout, position, 0) + layout.delta[l];
        const int64_t last = shape.rows() - (shape.panels() - 1) * kLanes<V>;
        multiply<Isa, V>({delta, kLanes<V>, 1, layout.backward_unit, shape.panels(), kLanes<V>, last},
                         layer.out_dim, inputs, {grad, layer.in_dim, count, nullptr});
    }

    // `count` columns of a layer's inputs, from `column` on, row by row: [kLanes, kLanes].
    template <typename V>
    static IBRL_ALWAYS_INLINE void load_inputs(const MlpBackwardArgs& args, const MlpLayout& layout,
                                               int64_t position, int64_t l, int64_t column, int64_t count,
                                               int64_t panel, V* to) {
        const int64_t x_dim = args.shape.x_dim;
        if (l > 0) {
            const int64_t num_rows = std::min(kLanes<V>, args.shape.rows() - panel * kLanes<V>);
            const V* act = unit_saved<V>(args, layout, position, panel) + layout.act[l - 1];
            const V* features[kLanes<V>];
            for (int64_t i = 0; i < count; ++i) features[i] = act + (column + i) * kLanes<V>;
            return transpose<V>(features, count, num_rows, to);
        }
        const PanelRows<V> rows(args, position, panel);
        for (int64_t i = 0; i < rows.count; ++i)
            for (int64_t c = 0; c < kLanes<V>; ++c) {
                const int64_t at = column + c;
                V value = 0;
                if (c < count) value = at < x_dim ? rows.x[i][at] : rows.extra[i][at - x_dim];
                to[i * kLanes<V> + c] = value;
            }
    }

    // Gradients of bias and LayerNorm: the panels' sums in order.
    template <typename V>
    static void sum_vectors(const MlpBackwardArgs& args, const MlpLayout& layout, int64_t position,
                            int64_t l) {
        const MlpGradient& gradient = args.gradients[l];
        const int64_t width = args.shape.layers[l].out_dim;
        void* const targets[] = {gradient.bias, gradient.norm_weight, gradient.norm_bias};
        for (int64_t which = 0; which < 3; ++which) {
            if (!targets[which]) continue;
            V* to = static_cast<V*>(targets[which]) + position * width;
            for (int64_t o = 0; o < width; ++o) to[o] = 0;
            for (int64_t panel = 0; panel < args.shape.panels(); ++panel) {
                const V* sums =
                    unit_scratch<V>(args, layout, position, panel) + layout.sums[l] + which * width;
                for (int64_t o = 0; o < width; ++o) to[o] += sums[o];
            }
        }
    }

    // The gradient of one element of the inputs of one row.
    template <typename V>
    static V grad_input(const MlpBackwardArgs& args, const MlpLayout& layout, int64_t position, int64_t row,
                        int64_t feature) {
        const V* panel =
            unit_scratch<V>(args, layout, position, row / kLanes<V>) + layout.grad_input;
        return panel[feature * kLanes<V> + row % kLanes<V>];
    }

    template <typename V>
    static void sum_grad_x(const MlpBackwardArgs& args, const MlpLayout& layout, int64_t input,
                           int64_t begin) {
        const MlpShape& shape = args.shape;
        const bool shared = shape.inputs == 1;
        const int64_t end = std::min(begin + kLanes<V>, shape.batch);
        for (int64_t b = begin; b < end; ++b)
            for (int64_t c = 0; c < shape.x_dim; ++c) {
                V sum = 0;
                for (int64_t m = shared ? 0 : input; m < (shared ? shape.members : input + 1); ++m)
                    for (int64_t p = 0; p < shape.proposals; ++p)
                        sum += grad_input<V>(args, layout, m, p * shape.batch + b, c);
                static_cast<V*>(args.grad_x)[(input * shape.batch + b) * shape.x_dim + c] = sum;
            }
    }

    template <typename V>
    static void sum_grad_extra(const MlpBackwardArgs& args, const MlpLayout& layout, int64_t proposal,
                               int64_t begin) {
        const MlpShape& shape = args.shape;
        const int64_t end = std::min(begin + kLanes<V>, shape.batch);
        for (int64_t b = begin; b < end; ++b)
            for (int64_t c = 0; c < shape.extra_dim; ++c) {
                const int64_t row = proposal * shape.batch + b;
                V sum = 0;
                for (int64_t m = 0; m < shape.members; ++m)
                    sum += grad_input<V>(args, layout, m, row, shape.x_dim + c);
                static_cast<V*>(args.grad_extra)[row * shape.extra_dim + c] = sum;
            }
    }
};

template <typename V>
void run_backward(const MlpBackwardArgs& args, int threads) {
    run_slots<Through, V>(args, threads);
    run_slots<Sums, V>(args, threads);
}

}  // namespace

void mlp_backward_cpu(const MlpBackwardArgs& args, int threads) {
    if (args.shape.is_float64)
        run_backward<double>(args, threads);
    else
        run_backward<float>(args, threads);
}

}  // namespace ibrl
