// Python face of the kernels: addresses, sizes and strides in, nothing computed here.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>

#include "bindings/bind_op.h"
#include "common/cpu_isa.h"
#include "common/philox.h"
#include "kernels/nstep_return.h"
#include "kernels/sample_rows.h"

namespace py = pybind11;
using ibrl::Address;

#ifdef IBRL_WITH_CUDA
#define IBRL_KERNELS(name) ibrl::name##_cpu, ibrl::name##_cuda
#else
#define IBRL_KERNELS(name) ibrl::name##_cpu, nullptr
#endif

void bind_kernels(py::module_& m) {
#ifdef IBRL_WITH_CUDA
    m.attr("with_cuda") = true;
#else
    m.attr("with_cuda") = false;
#endif

    // For tests: the generator itself, and the instruction set in use.
    m.def("philox4x32_10", [](std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
        const auto r = ibrl::philox4x32_10({{counter[0], counter[1], counter[2], counter[3]}}, key[0], key[1]);
        return std::array<uint32_t, 4>{r.word[0], r.word[1], r.word[2], r.word[3]};
    });
    m.def("get_cpu_isa", [] { return static_cast<int>(ibrl::cpu_isa()); });
    m.def("limit_cpu_isa", [](int isa) {
        const auto best = static_cast<int>(ibrl::detect_cpu_isa());
        ibrl::cpu_isa() = static_cast<ibrl::CpuIsa>(isa < 0 || isa > best ? best : isa);
    });

    // Each op: its Args struct, what Python passes for its fields, and how many elements a call touches.
    ibrl::bind_op<ibrl::SampleRowsArgs, Address, Address, Address, int64_t, Address, int64_t>(
        m, "sample_rows", IBRL_KERNELS(sample_rows), [](const auto& args) { return args.batch * 8; });
    ibrl::bind_op<ibrl::NstepReturnArgs, Address, Address, Address, Address, Address, Address, Address, Address,
                  int64_t, int64_t, int64_t, double, bool, bool>(
        m, "nstep_return", IBRL_KERNELS(nstep_return),
        [](const auto& args) { return args.batch * 4 * args.nstep; });
}
