// Python face of the MLP's kernels. They have no CUDA twins: ibrl_fast/ops/mlp.py says why.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>

#include "bindings/bind_op.h"
#include "kernels/mlp.h"

namespace py = pybind11;

namespace {

constexpr auto visit_shape = [](auto& args, auto& visit) {
    using Entry = ibrl::MlpLayer;
    visit.each(args.layers, args.num_layers, IBRL_COLUMN(weight), IBRL_COLUMN(bias), IBRL_COLUMN(norm_weight),
               IBRL_COLUMN(norm_bias), IBRL_COLUMN(in_dim), IBRL_COLUMN(out_dim));
    visit(IBRL_FIELD(members), IBRL_FIELD(inputs), IBRL_FIELD(proposals), IBRL_FIELD(batch),
          IBRL_FIELD(x_dim), IBRL_FIELD(extra_dim), IBRL_FIELD(slots), IBRL_FIELD(is_float64),
          IBRL_FIELD(layer_norm), IBRL_FIELD(tanh));
};

// What both calls read beside it.
constexpr auto visit_inputs = [](auto& args, auto& visit) {
    visit_shape(args.shape, visit);
    visit(IBRL_FIELD(x), IBRL_FIELD(extra), IBRL_FIELD(mask), IBRL_FIELD(x_strides),
          IBRL_FIELD(extra_strides), IBRL_FIELD(mask_stride), IBRL_FIELD(out), IBRL_FIELD(saved),
          IBRL_FIELD(scratch), IBRL_FIELD(saved_size), IBRL_FIELD(scratch_size));
};

// Python makes the tensors that this writes into: refuse one that is too small.
void check_size(const char* name, int64_t expected, int64_t got) {
    if (got < expected)
        throw py::value_error(std::string(name) + ": expected at least " + std::to_string(expected) +
                              " elements, got " + std::to_string(got));
}

void check_sizes(const ibrl::MlpShape& shape, bool is_saved, int64_t saved, int64_t scratch, bool backward) {
    if (shape.num_layers < 1) throw py::value_error("layers: expected at least one, got none");
    const ibrl::MlpLayout layout = ibrl::mlp_layout(shape);
    if (is_saved) check_size("saved", shape.units() * layout.saved_unit, saved);
    check_size("scratch",
               backward ? shape.panels() * layout.backward_panel + shape.slots * layout.backward_slot
                        : shape.slots * layout.forward_slot,
               scratch);
}

struct MlpCall : ibrl::MlpArgs {
    void finish() const { check_sizes(shape, saved != nullptr, saved_size, scratch_size, false); }
};

struct MlpBackwardCall : ibrl::MlpBackwardArgs {
    void finish() const { check_sizes(shape, true, saved_size, scratch_size, true); }
};

// Multiplications, by which a call's length goes.
int64_t work(const ibrl::MlpShape& shape) {
    int64_t weights = 0;
    for (int64_t l = 0; l < shape.num_layers; ++l)
        weights += shape.layers[l].in_dim * shape.layers[l].out_dim;
    return shape.members * shape.rows() * weights / 16;
}

}  // namespace

void bind_mlp(py::module_& m) {
    ibrl::list_fields<ibrl::MlpArgs>(m, "mlp_inputs", visit_inputs);
    ibrl::bind_op<MlpCall>(
        m, "mlp", ibrl::mlp_cpu, nullptr,
        [](auto& args, auto& visit) {
            visit_inputs(args, visit);
            visit(IBRL_FIELD(subset), IBRL_FIELD(num_members), IBRL_FIELD(eps));
        },
        [](const auto& args) { return work(args.shape); });
    ibrl::bind_op<MlpBackwardCall>(
        m, "mlp_backward", ibrl::mlp_backward_cpu, nullptr,
        [](auto& args, auto& visit) {
            using Entry = ibrl::MlpGradient;
            visit_inputs(args, visit);
            visit(IBRL_FIELD(grad_out), IBRL_FIELD(grad_x), IBRL_FIELD(grad_extra));
            visit.each(args.gradients, args.num_gradients, ibrl::Column{"grad_weight", &Entry::weight},
                       ibrl::Column{"grad_bias", &Entry::bias},
                       ibrl::Column{"grad_norm_weight", &Entry::norm_weight},
                       ibrl::Column{"grad_norm_bias", &Entry::norm_bias});
        },
        [](const auto& args) { return work(args.shape); });
}
