// Python face of the kernels: addresses, sizes and strides in, nothing computed here.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <iterator>
#include <string>
#include <vector>

#include "bindings/bind_op.h"
#include "bindings/check_apart.h"
#include "common/cpu_isa.h"
#include "common/philox.h"
#include "kernels/adam_update.h"
#include "kernels/ensemble_norm_relu.h"
#include "kernels/ibrl_select.h"
#include "kernels/ibrl_target.h"
#include "kernels/nstep_return.h"
#include "kernels/random_shift_gather.h"
#include "kernels/replay_gather.h"
#include "kernels/sample_rows.h"
#include "kernels/scatter_rows.h"
#include "kernels/spatial_embed.h"

namespace py = pybind11;
using ibrl::Address;

#ifdef IBRL_WITH_CUDA
#define IBRL_KERNELS(name) ibrl::name##_cpu, ibrl::name##_cuda
#else
#define IBRL_KERNELS(name) ibrl::name##_cpu, nullptr
#endif

namespace {

using ibrl::DType;
using Addresses = std::vector<Address>;
using Numbers = std::vector<int64_t>;

// One entry of each list belongs to one gather.
ibrl::ReplayGatherArgs replay_gather_args(const Addresses& sources, const Addresses& rows,
                                          const Addresses& outs, const Numbers& num_rows,
                                          const Numbers& row_strides, const Numbers& features,
                                          const Numbers& stacks, const Numbers& source_dtypes,
                                          const Numbers& out_dtypes, Address episode_step, int64_t batch) {
    ibrl::ReplayGatherArgs args{{}, episode_step, static_cast<int64_t>(sources.size()), batch};
    for (size_t s = 0; s < sources.size(); ++s)
        args.gathers[s] = {sources[s],
                           rows[s],
                           outs[s],
                           num_rows[s],
                           row_strides[s],
                           features[s],
                           stacks[s],
                           static_cast<DType>(source_dtypes[s]),
                           static_cast<DType>(out_dtypes[s])};
    return args;
}

// One entry of each list belongs to one scatter.
ibrl::ScatterRowsArgs scatter_rows_args(const Addresses& rows, const Addresses& values,
                                        const Addresses& targets, const Numbers& num_rows,
                                        const Numbers& row_bytes, const Numbers& counts) {
    ibrl::ScatterRowsArgs args{{}, static_cast<int64_t>(targets.size())};
    for (size_t s = 0; s < targets.size(); ++s)
        args.scatters[s] = {rows[s], values[s], targets[s], num_rows[s], row_bytes[s], counts[s]};
    return args;
}

// Owns the list that the kernel's Args point into.
struct AdamUpdateList {
    std::vector<ibrl::AdamGradient> gradients;
    ibrl::AdamUpdateArgs args;
    operator ibrl::AdamUpdateArgs() const {
        ibrl::AdamUpdateArgs complete = args;
        complete.gradients = gradients.data();
        complete.num_gradients = static_cast<int64_t>(gradients.size());
        return complete;
    }
};

AdamUpdateList adam_update_list(Address values, Address exp_avg, Address exp_avg_sq, Address step,
                                const Addresses& gradients, const Numbers& offsets, const Numbers& counts,
                                Address target, int64_t target_begin, int64_t size, double learning_rate,
                                double beta1, double beta2, double eps, double rho, bool is_float64) {
    // Nothing that is written shares memory with anything else.
    const int64_t width = is_float64 ? sizeof(double) : sizeof(float);
    const ibrl::Span written[] = {{"values", values, size * width},
                                  {"exp_avg", exp_avg, size * width},
                                  {"exp_avg_sq", exp_avg_sq, size * width},
                                  {"target", target, target.value ? (size - target_begin) * width : 0},
                                  {"step", step, sizeof(int64_t)}};
    for (const ibrl::Span* span = written; span != std::end(written); ++span) {
        for (const ibrl::Span* other = written; other != span; ++other) check_apart(*span, *other);
        for (size_t t = 0; t < gradients.size(); ++t)
            check_apart(*span, {"a gradient", gradients[t], counts[t] * width});
    }
    AdamUpdateList list{{},
                        {values, exp_avg, exp_avg_sq, step, nullptr, 0, target, target_begin, learning_rate,
                         beta1, beta2, eps, rho, is_float64}};
    for (size_t t = 0; t < gradients.size(); ++t)
        list.gradients.push_back({gradients[t], offsets[t], counts[t]});
    return list;
}

// How many elements all tensors of a list have.
template <typename Tensors>
int64_t total_count(const Tensors& tensors) {
    int64_t elements = 0;
    for (const auto& tensor : tensors) elements += tensor.count;
    return elements;
}

}  // namespace

void bind_kernels(py::module_& m) {
#ifdef IBRL_WITH_CUDA
    m.attr("with_cuda") = true;
#else
    m.attr("with_cuda") = false;
#endif

    // For tests: the generator itself, and the instruction set in use.
    m.def("philox4x32_10", [](std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
        const auto r =
            ibrl::philox4x32_10({{counter[0], counter[1], counter[2], counter[3]}}, key[0], key[1]);
        return std::array<uint32_t, 4>{r.word[0], r.word[1], r.word[2], r.word[3]};
    });
    m.def("get_cpu_isa", [] { return static_cast<int>(ibrl::cpu_isa()); });
    m.def("limit_cpu_isa", [](int isa) {
        const auto best = static_cast<int>(ibrl::detect_cpu_isa());
        ibrl::cpu_isa() = static_cast<ibrl::CpuIsa>(isa < 0 || isa > best ? best : isa);
    });

    // Each op: what Python passes for the fields of its Args struct, and how many elements a call touches.
    ibrl::bind_op<Address, Address, Address, Address, int64_t, Address, int64_t, int64_t>(
        m, "sample_rows", ibrl::fields_of<ibrl::SampleRowsArgs>, IBRL_KERNELS(sample_rows),
        [](const auto& args) { return args.batch * 8; });
    ibrl::bind_op<Address, Address, Address, Address, Address, Address, Address, Address, int64_t, int64_t,
                  int64_t, double, bool, bool>(m, "nstep_return", ibrl::fields_of<ibrl::NstepReturnArgs>,
                                               IBRL_KERNELS(nstep_return),
                                               [](const auto& args) { return args.batch * 4 * args.nstep; });
    ibrl::bind_op<Addresses, Addresses, Addresses, Numbers, Numbers, Numbers, Numbers, Numbers, Numbers,
                  Address, int64_t>(
        m, "replay_gather", replay_gather_args, IBRL_KERNELS(replay_gather), [](const auto& args) {
            int64_t elements = 0;
            for (int64_t s = 0; s < args.count; ++s)
                elements += args.batch * args.gathers[s].stack * args.gathers[s].features;
            return elements;
        });
    ibrl::bind_op<Addresses, Addresses, Addresses, Numbers, Numbers, Numbers>(
        m, "scatter_rows", scatter_rows_args, IBRL_KERNELS(scatter_rows), [](const auto& args) {
            int64_t bytes = 0;
            for (int64_t s = 0; s < args.count; ++s)
                bytes += args.scatters[s].count * args.scatters[s].row_bytes;
            return bytes;
        });
    ibrl::bind_op<Address, Address, Address, Address, Address, Address, Address, int64_t, int64_t, int64_t,
                  int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, double, double, DType>(
        m, "random_shift_gather", ibrl::fields_of<ibrl::RandomShiftGatherArgs>,
        IBRL_KERNELS(random_shift_gather),
        [](const auto& args) { return args.batch * args.stack * args.channels * args.height * args.width; });

    ibrl::bind_op<Address, DType, int64_t, int64_t, int64_t, Address, Address, int64_t, int64_t, int64_t,
                  int64_t, int64_t, double, bool, Address, Address, int64_t, int64_t, Address, Address>(
        m, "ibrl_target", ibrl::fields_of<ibrl::IbrlTargetArgs>, IBRL_KERNELS(ibrl_target),
        [](const auto& args) { return args.values.batch * args.values.proposals * args.values.subset_size; });
    ibrl::bind_op<Address, DType, int64_t, int64_t, int64_t, Address, Address, int64_t, int64_t, int64_t,
                  int64_t, int64_t, double, bool, Address, int64_t, int64_t, int64_t, int64_t, int64_t,
                  Address, Address>(
        m, "ibrl_select", ibrl::fields_of<ibrl::IbrlSelectArgs>, IBRL_KERNELS(ibrl_select),
        [](const auto& args) { return args.values.batch * args.values.proposals * args.values.subset_size; });
    ibrl::bind_op<Address, Address, Address, Address, Addresses, Numbers, Numbers, Address, int64_t, int64_t,
                  double, double, double, double, double, bool>(
        m, "adam_update", adam_update_list, IBRL_KERNELS(adam_update),
        [](const auto& list) { return total_count(list.gradients) * 2; });

    const auto activations = [](const auto& args) { return args.members * args.batch * args.width; };
    ibrl::bind_op<Address, Address, Address, Address, Address, Address, Address, int64_t, int64_t, int64_t,
                  double, DType>(m, "ensemble_norm_relu", ibrl::fields_of<ibrl::EnsembleNormReluArgs>,
                                 IBRL_KERNELS(ensemble_norm_relu), activations);
    ibrl::bind_op<Address, Address, Address, Address, Address, Address, Address, Address, Address, Address,
                  Address, Address, int64_t, int64_t, int64_t, DType>(
        m, "ensemble_norm_relu_backward", ibrl::fields_of<ibrl::EnsembleNormReluBackwardArgs>,
        IBRL_KERNELS(ensemble_norm_relu_backward), activations);

    const auto elements = [](const auto& args) {
        return args.members * args.proposals * args.batch * args.channels * args.embed_dim;
    };
    ibrl::bind_op<Address, Address, Address, Address, Address, Address, Address, Address, int64_t, int64_t,
                  int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, double,
                  DType>(m, "spatial_embed", ibrl::fields_of<ibrl::SpatialEmbedArgs>,
                         IBRL_KERNELS(spatial_embed), elements);
    ibrl::bind_op<Address, Address, Address, Address, Address, Address, Address, Address, Address, Address,
                  Address, Address, Address, Address, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                  int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, DType>(
        m, "spatial_embed_backward", ibrl::fields_of<ibrl::SpatialEmbedBackwardArgs>,
        IBRL_KERNELS(spatial_embed_backward), elements);
    const auto bind_scratch = [&](const char* name, auto scratch) {
        m.def(name, [=](int64_t members, int64_t proposals, int64_t batch, int64_t channels,
                        int64_t embed_dim, DType dtype, bool of_weights) {
            return scratch({members, proposals, batch, channels, embed_dim, dtype, of_weights});
        });
    };
    bind_scratch("spatial_embed_scratch_cpu", ibrl::spatial_embed_scratch_cpu);
#ifdef IBRL_WITH_CUDA
    bind_scratch("spatial_embed_scratch_cuda", ibrl::spatial_embed_scratch_cuda);
#endif
}
