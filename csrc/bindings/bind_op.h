// How a kernel becomes two Python functions: NAME_cpu(fields, threads) and NAME_cuda(fields, device, stream).
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include "bindings/fields.h"

namespace ibrl {

// Runs a CPU kernel, without the interpreter lock where the work is longer than giving it up is worth.
template <typename Kernel>
auto run_cpu(int64_t elements_touched, Kernel&& kernel) {
    constexpr int64_t kWorthReleasing = 1 << 16;  // some 50 us
    if (elements_touched < kWorthReleasing) return kernel();
    pybind11::gil_scoped_release release;
    return kernel();
}

// Adds what `visit_fields(call, visit)` names to the module's
// `kernel_fields`, from which ibrl_fast/_core.pyi is written.
template <typename Call, typename VisitFields>
FieldLister list_fields(pybind11::module_& m, const std::string& name, VisitFields visit_fields) {
    FieldLister lister;
    Call none{};
    visit_fields(none, lister);
    if (!pybind11::hasattr(m, "kernel_fields")) m.attr("kernel_fields") = pybind11::dict();
    m.attr("kernel_fields")[name.c_str()] = pybind11::tuple(lister.kinds);
    return lister;
}

// What reads a dict into the call of a kernel.
template <typename Call, typename VisitFields>
auto make_reader(pybind11::module_& m, const std::string& name, VisitFields visit_fields) {
    FieldLister lister = list_fields<Call>(m, name, visit_fields);
    return [=, names = std::make_shared<std::vector<pybind11::str>>(std::move(lister.names))](
               const pybind11::dict& fields) {
        Call call{};
        FieldReader reader(name, *names, fields);
        visit_fields(call, reader);
        if constexpr (requires { call.finish(); }) call.finish();
        return call;
    };
}

// Binds a kernel, `cuda` null where there is none; `elements_touched(call)` tells how much work a call is.
template <typename Call, typename Cpu, typename Cuda, typename VisitFields, typename Work>
void bind_op(pybind11::module_& m, const std::string& name, Cpu cpu, [[maybe_unused]] Cuda cuda,
             VisitFields visit_fields, Work elements_touched) {
    const auto read = make_reader<Call>(m, name, visit_fields);
    m.def((name + "_cpu").c_str(), [=](const pybind11::dict& fields, int threads) {
        const Call call = read(fields);
        return run_cpu(elements_touched(call), [&] { return cpu(call, threads); });
    });
#ifdef IBRL_WITH_CUDA
    if constexpr (!std::is_null_pointer_v<Cuda>)
        m.def((name + "_cuda").c_str(), [=](const pybind11::dict& fields, int device, uintptr_t stream) {
            cuda(read(fields), device, reinterpret_cast<void*>(stream));
        });
#endif
}

}  // namespace ibrl
