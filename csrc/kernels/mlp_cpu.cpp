#include "kernels/mlp.h"
#include "kernels/mlp_passes.h"

namespace ibrl {
namespace {

// Computes a slot's share of the units, one after the other, so that a member's weights stay in the cache.
struct Forward {
    template <typename Isa, typename V>
    static IBRL_ALWAYS_INLINE void run(const MlpArgs& args, int64_t slot) {
        const MlpShape& shape = args.shape;
        const MlpLayout layout = mlp_layout(shape);
        const int64_t units = shape.units(), panels = shape.panels();
        V* scratch = static_cast<V*>(args.scratch) + slot * layout.forward_slot;
        for (int64_t unit = slot * units / shape.slots; unit < (slot + 1) * units / shape.slots; ++unit)
            compute<Isa, V>(args, layout, unit / panels, unit % panels, scratch);
    }

    template <typename Isa, typename V>
    static IBRL_ALWAYS_INLINE void compute(const MlpArgs& args, const MlpLayout& layout, int64_t position,
                                           int64_t panel, V* scratch) {
        const MlpShape& shape = args.shape;
        const int64_t member = args.subset ? args.subset[position] : position;
        const int64_t part = shape.max_width() * kLanes<V>;
        V* saved = args.saved
                       ? static_cast<V*>(args.saved) + (position * shape.panels() + panel) * layout.saved_unit
                       : nullptr;
        const PanelRows<V> rows(args, position, panel);
        V* input = scratch;
        transpose<V>(rows.x, rows.count, shape.x_dim, input);
        transpose<V>(rows.extra, rows.count, shape.extra_dim, input + shape.x_dim * kLanes<V>);

        for (int64_t l = 0; l < shape.num_layers; ++l) {
            const MlpLayer& layer = shape.layers[l];
            const bool hidden = l + 1 < shape.num_layers;
            V* act = scratch + (1 + l % 2) * part;
            V* values = saved && hidden ? saved + layout.kept[l] : act;
            if (!shape.layer_norm) act = values;
            const auto weight = static_cast<const V*>(layer.weight) + member * layer.out_dim * layer.in_dim;
            const auto of_member = [&](const void* vector) {
                return vector ? static_cast<const V*>(vector) + member * layer.out_dim : nullptr;
            };
            multiply<Isa, V>({weight, layer.in_dim, 1, 0, 1, layer.in_dim, layer.in_dim}, layer.out_dim,
                             input, {values, kLanes<V>, rows.lanes, of_member(layer.bias)});
            if (hidden) {
                V* mask = args.mask ? scratch + 3 * part : nullptr;
                if (mask) rows.load_mask(layout.mask[l], layer.out_dim, mask);
                finish_hidden<Isa, V>({layer.out_dim, rows.lanes, of_member(layer.norm_weight),
                                       of_member(layer.norm_bias), mask, values, act,
                                       saved && shape.layer_norm ? saved + layout.rstd[l] : nullptr,
                                       static_cast<V>(args.eps)});
            } else {
                V* out =
                    static_cast<V*>(args.out) + (position * shape.rows() + panel * kLanes<V>)*layer.out_dim;
                for (int64_t i = 0; i < rows.count; ++i)
                    for (int64_t o = 0; o < layer.out_dim; ++o) {
                        const V value = values[o * kLanes<V> + i];
                        out[i * layer.out_dim + o] = shape.tanh ? std::tanh(value) : value;
                    }
            }
            input = act;
        }
    }
};

}  // namespace

int64_t mlp_cpu(const MlpArgs& args, int threads) {
    for (int64_t i = 0; args.subset && i < args.shape.members; ++i)
        if (args.subset[i] < 0 || args.subset[i] >= args.num_members) return i;
    if (args.shape.is_float64)
        run_slots<Forward, double>(args, threads);
    else
        run_slots<Forward, float>(args, threads);
    return -1;
}

}  // namespace ibrl
