// Python face of the kernels: the fields of each op by name, nothing computed here.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <vector>

#include "bindings/bind_op.h"
#include "bindings/check_apart.h"
#include "common/cpu_isa.h"
#include "common/philox.h"
#include "kernels/adam_update.h"
#include "kernels/ensemble_norm_relu.h"
#include "kernels/nstep_return.h"
#include "kernels/proposals.h"
#include "kernels/random_shift_gather.h"
#include "kernels/replay_rows.h"
#include "kernels/sample_rows.h"
#include "kernels/spatial_embed.h"

namespace py = pybind11;

#ifdef IBRL_WITH_CUDA
#define IBRL_KERNELS(name) ibrl::name##_cpu, ibrl::name##_cuda
#else
#define IBRL_KERNELS(name) ibrl::name##_cpu, nullptr
#endif

namespace {

// Adam's arguments point into a list that the call owns.
struct AdamUpdateCall {
    ibrl::AdamUpdateArgs args;
    std::vector<ibrl::AdamGradient> gradients;
    int64_t size;

    operator ibrl::AdamUpdateArgs() const {
        ibrl::AdamUpdateArgs complete = args;
        complete.gradients = gradients.data();
        return complete;
    }

    // Nothing that is written shares memory with anything else.
    void finish() const {
        const int64_t width = args.is_float64 ? sizeof(double) : sizeof(float);
        const ibrl::Span written[] = {
            {"values", args.values, size * width},
            {"exp_avg", args.exp_avg, size * width},
            {"exp_avg_sq", args.exp_avg_sq, size * width},
            {"target", args.target, args.target ? (size - args.target_begin) * width : 0},
            {"step", args.step, sizeof(int64_t)}};
        for (const ibrl::Span* span = written; span != std::end(written); ++span) {
            for (const ibrl::Span* other = written; other != span; ++other) check_apart(*span, *other);
            for (const auto& each : gradients)
                check_apart(*span, {"a gradient", each.gradient, each.count * width});
        }
    }
};

// What the proposals' ops share.
constexpr auto visit_proposals = [](auto& args, auto& visit) {
    visit(IBRL_FIELD(q), IBRL_FIELD(q_dtype), IBRL_FIELD(stride_proposal), IBRL_FIELD(stride_critic),
          IBRL_FIELD(stride_batch), IBRL_FIELD(subset), IBRL_FIELD(counter), IBRL_FIELD(seed),
          IBRL_FIELD(proposals), IBRL_FIELD(num_critics), IBRL_FIELD(batch), IBRL_FIELD(subset_size),
          IBRL_FIELD(beta), IBRL_FIELD(greedy));
};

// Drawing, gathering and writing rows of the replay buffer.
void bind_replay(py::module_& m) {
    ibrl::bind_op<ibrl::SampleRowsArgs>(
        m, "sample_rows", IBRL_KERNELS(sample_rows),
        [](auto& args, auto& visit) {
            visit(IBRL_FIELD(table), IBRL_FIELD(size), IBRL_FIELD(begin), IBRL_FIELD(counter),
                  IBRL_FIELD(seed), IBRL_FIELD(rows), IBRL_FIELD(batch), IBRL_FIELD(capacity));
        },
        [](const auto& args) { return args.batch * 8; });
    ibrl::bind_op<ibrl::NstepReturnArgs>(
        m, "nstep_return", IBRL_KERNELS(nstep_return),
        [](auto& args, auto& visit) {
            visit(IBRL_FIELD(reward), IBRL_FIELD(terminated), IBRL_FIELD(truncated), IBRL_FIELD(is_tail),
                  IBRL_FIELD(rows), IBRL_FIELD(nstep_reward), IBRL_FIELD(discount), IBRL_FIELD(next_row),
                  IBRL_FIELD(num_rows), IBRL_FIELD(batch), IBRL_FIELD(nstep), IBRL_FIELD(gamma),
                  IBRL_FIELD(bootstrap_on_truncation), IBRL_FIELD(is_float64));
        },
        [](const auto& args) { return args.batch * 4 * args.nstep; });
    ibrl::bind_op<ibrl::ReplayGatherArgs>(
        m, "replay_gather", IBRL_KERNELS(replay_gather),
        [](auto& args, auto& visit) {
            using Entry = ibrl::ReplayGather;
            visit.each(args.gathers, args.count, IBRL_COLUMN(source), IBRL_COLUMN(rows), IBRL_COLUMN(out),
                       IBRL_COLUMN(num_rows), IBRL_COLUMN(row_stride), IBRL_COLUMN(features),
                       IBRL_COLUMN(stack), IBRL_COLUMN(source_dtype), IBRL_COLUMN(out_dtype));
            visit(IBRL_FIELD(episode_step), IBRL_FIELD(batch));
        },
        [](const auto& args) {
            int64_t elements = 0;
            for (int64_t s = 0; s < args.count; ++s)
                elements += args.batch * args.gathers[s].stack * args.gathers[s].features;
            return elements;
        });
    ibrl::bind_op<ibrl::ScatterRowsArgs>(
        m, "scatter_rows", IBRL_KERNELS(scatter_rows),
        [](auto& args, auto& visit) {
            using Entry = ibrl::RowScatter;
            visit.each(args.scatters, args.count, IBRL_COLUMN(rows), IBRL_COLUMN(values), IBRL_COLUMN(target),
                       IBRL_COLUMN(num_rows), IBRL_COLUMN(row_bytes), IBRL_COLUMN(count));
        },
        [](const auto& args) {
            int64_t bytes = 0;
            for (int64_t s = 0; s < args.count; ++s)
                bytes += args.scatters[s].count * args.scatters[s].row_bytes;
            return bytes;
        });
    ibrl::bind_op<ibrl::RandomShiftGatherArgs>(
        m, "random_shift_gather", IBRL_KERNELS(random_shift_gather),
        [](auto& args, auto& visit) {
            visit(IBRL_FIELD(frames), IBRL_FIELD(rows), IBRL_FIELD(next_rows), IBRL_FIELD(episode_step),
                  IBRL_FIELD(counter), IBRL_FIELD(obs), IBRL_FIELD(next_obs), IBRL_FIELD(seed),
                  IBRL_FIELD(num_rows), IBRL_FIELD(frame_stride), IBRL_FIELD(channels), IBRL_FIELD(height),
                  IBRL_FIELD(width), IBRL_FIELD(batch), IBRL_FIELD(stack), IBRL_FIELD(pad), IBRL_FIELD(scale),
                  IBRL_FIELD(offset), IBRL_FIELD(out_dtype));
        },
        [](const auto& args) { return args.batch * args.stack * args.channels * args.height * args.width; });
}

// The method's own: bootstrap targets, the choice of an action, Adam with the targets' moving average.
void bind_learner(py::module_& m) {
    ibrl::list_fields<ibrl::ProposalValues>(m, "proposal", visit_proposals);
    const auto values = [](const auto& args) { return args.batch * args.proposals * args.subset_size; };
    ibrl::bind_op<ibrl::IbrlTargetArgs>(
        m, "ibrl_target", IBRL_KERNELS(ibrl_target),
        [](auto& args, auto& visit) {
            visit_proposals(args, visit);
            visit(IBRL_FIELD(reward), IBRL_FIELD(discount), IBRL_FIELD(reward_stride),
                  IBRL_FIELD(discount_stride), IBRL_FIELD(target), IBRL_FIELD(choice));
        },
        values);
    ibrl::bind_op<ibrl::IbrlSelectArgs>(
        m, "ibrl_select", IBRL_KERNELS(ibrl_select),
        [](auto& args, auto& visit) {
            visit_proposals(args, visit);
            visit(IBRL_FIELD(actions), IBRL_FIELD(action_stride_proposal), IBRL_FIELD(action_stride_batch),
                  IBRL_FIELD(action_stride_dim), IBRL_FIELD(action_dim), IBRL_FIELD(action_bytes),
                  IBRL_FIELD(action), IBRL_FIELD(choice));
        },
        values);
    ibrl::bind_op<AdamUpdateCall>(
        m, "adam_update", IBRL_KERNELS(adam_update),
        [](auto& call, auto& visit) {
            using Entry = ibrl::AdamGradient;
            auto& args = call.args;
            visit(IBRL_FIELD(values), IBRL_FIELD(exp_avg), IBRL_FIELD(exp_avg_sq), IBRL_FIELD(step));
            visit.each(call.gradients, args.num_gradients, IBRL_COLUMN(gradient), IBRL_COLUMN(offset),
                       IBRL_COLUMN(count));
            visit(IBRL_FIELD(target), IBRL_FIELD(target_begin), ibrl::Field{"size", call.size},
                  IBRL_FIELD(learning_rate), IBRL_FIELD(beta1), IBRL_FIELD(beta2), IBRL_FIELD(eps),
                  IBRL_FIELD(rho), IBRL_FIELD(is_float64));
        },
        [](const auto& call) {
            int64_t elements = 0;
            for (const auto& each : call.gradients) elements += each.count * 2;
            return elements;
        });
}

// Layers of the critics.
void bind_layers(py::module_& m) {
    const auto activations = [](const auto& args) { return args.num_critics * args.batch * args.width; };
    ibrl::bind_op<ibrl::EnsembleNormReluArgs>(
        m, "ensemble_norm_relu", IBRL_KERNELS(ensemble_norm_relu),
        [](auto& args, auto& visit) {
            visit(IBRL_FIELD(x), IBRL_FIELD(bias), IBRL_FIELD(norm_weight), IBRL_FIELD(norm_bias),
                  IBRL_FIELD(out), IBRL_FIELD(mean), IBRL_FIELD(rstd), IBRL_FIELD(num_critics),
                  IBRL_FIELD(batch), IBRL_FIELD(width), IBRL_FIELD(eps), IBRL_FIELD(dtype));
        },
        activations);
    ibrl::bind_op<ibrl::EnsembleNormReluBackwardArgs>(
        m, "ensemble_norm_relu_backward", IBRL_KERNELS(ensemble_norm_relu_backward),
        [](auto& args, auto& visit) {
            visit(IBRL_FIELD(grad_out), IBRL_FIELD(x), IBRL_FIELD(bias), IBRL_FIELD(norm_weight),
                  IBRL_FIELD(norm_bias), IBRL_FIELD(mean), IBRL_FIELD(rstd), IBRL_FIELD(grad_x),
                  IBRL_FIELD(grad_bias), IBRL_FIELD(grad_norm_weight), IBRL_FIELD(grad_norm_bias),
                  IBRL_FIELD(scratch), IBRL_FIELD(num_critics), IBRL_FIELD(batch), IBRL_FIELD(width),
                  IBRL_FIELD(dtype));
        },
        activations);

    const auto elements = [](const auto& args) {
        return args.num_critics * args.proposals * args.batch * args.channels * args.embed_dim;
    };
    const auto visit_sizes = [](auto& args, auto& visit) {
        visit(IBRL_FIELD(num_critics), IBRL_FIELD(proposals), IBRL_FIELD(batch), IBRL_FIELD(channels),
              IBRL_FIELD(embed_dim), IBRL_FIELD(dtype));
    };
    ibrl::list_fields<ibrl::SpatialEmbedSizes>(m, "spatial_embed_sizes", visit_sizes);
    ibrl::bind_op<ibrl::SpatialEmbedArgs>(
        m, "spatial_embed", IBRL_KERNELS(spatial_embed),
        [=](auto& args, auto& visit) {
            visit(IBRL_FIELD(patches), IBRL_FIELD(extra), IBRL_FIELD(norm_weight), IBRL_FIELD(norm_bias),
                  IBRL_FIELD(channel_weight), IBRL_FIELD(out), IBRL_FIELD(mean), IBRL_FIELD(rstd));
            visit_sizes(args, visit);
            visit(IBRL_FIELD(extra_strides), IBRL_FIELD(out_strides), IBRL_FIELD(eps));
        },
        elements);
    ibrl::bind_op<ibrl::SpatialEmbedBackwardArgs>(
        m, "spatial_embed_backward", IBRL_KERNELS(spatial_embed_backward),
        [=](auto& args, auto& visit) {
            visit(IBRL_FIELD(grad_out), IBRL_FIELD(patches), IBRL_FIELD(extra), IBRL_FIELD(norm_weight),
                  IBRL_FIELD(norm_bias), IBRL_FIELD(channel_weight), IBRL_FIELD(mean), IBRL_FIELD(rstd),
                  IBRL_FIELD(grad_extra), IBRL_FIELD(grad_patches), IBRL_FIELD(grad_norm_weight),
                  IBRL_FIELD(grad_norm_bias), IBRL_FIELD(grad_channel_weight), IBRL_FIELD(scratch));
            visit_sizes(args, visit);
            visit(IBRL_FIELD(grad_out_strides), IBRL_FIELD(extra_strides), IBRL_FIELD(grad_extra_strides));
        },
        elements);

    // How many elements of scratch a backward needs.
    const auto read =
        ibrl::make_reader<ibrl::SpatialEmbedSizes>(m, "spatial_embed_scratch", [=](auto& args, auto& visit) {
            visit_sizes(args, visit);
            visit(IBRL_FIELD(of_weights));
        });
    m.def("spatial_embed_scratch_cpu",
          [=](const py::dict& fields) { return ibrl::spatial_embed_scratch_cpu(read(fields)); });
#ifdef IBRL_WITH_CUDA
    m.def("spatial_embed_scratch_cuda",
          [=](const py::dict& fields) { return ibrl::spatial_embed_scratch_cuda(read(fields)); });
#endif
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

    bind_replay(m);
    bind_learner(m);
    bind_layers(m);
}
