// How a kernel becomes two Python functions: NAME_cpu(fields..., threads) and NAME_cuda(fields..., device,
// stream).
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "common/dtype.h"

namespace ibrl {

// A tensor's data_ptr(), which converts to whatever pointer a field of an Args struct is.
struct Address {
    uintptr_t value = 0;
    template <typename T>
    operator T*() const {
        return reinterpret_cast<T*>(value);
    }
};

}  // namespace ibrl

// Both arrive from Python as plain integers.
template <>
struct pybind11::detail::type_caster<ibrl::DType> {
    PYBIND11_TYPE_CASTER(ibrl::DType, const_name("int"));
    bool load(handle source, bool convert) {
        make_caster<int> number;
        if (!number.load(source, convert)) return false;
        value = static_cast<ibrl::DType>(cast_op<int>(number));
        return true;
    }
};

template <>
struct pybind11::detail::type_caster<ibrl::Address> {
    PYBIND11_TYPE_CASTER(ibrl::Address, const_name("int"));
    bool load(handle source, bool convert) {
        make_caster<uintptr_t> number;
        if (!number.load(source, convert)) return false;
        value.value = cast_op<uintptr_t>(number);
        return true;
    }
};

namespace ibrl {

// Runs a CPU kernel, without the interpreter lock where the work is longer than giving it up is worth.
template <typename Kernel>
auto run_cpu(int64_t elements_touched, Kernel&& kernel) {
    constexpr int64_t kWorthReleasing = 1 << 16;  // some 50 us
    if (elements_touched < kWorthReleasing) return kernel();
    pybind11::gil_scoped_release release;
    return kernel();
}

// Fills an Args struct field by field, in the order of Python's arguments.
template <typename Args>
constexpr auto fields_of = [](auto... fields) { return Args{fields...}; };

// Binds a kernel; `make` turns Python's arguments into the kernel's Args struct.
template <typename... Inputs, typename Make, typename Cpu, typename Cuda, typename Work>
void bind_op(pybind11::module_& m, const std::string& name, Make make, Cpu cpu, [[maybe_unused]] Cuda cuda,
             Work elements_touched) {
    m.def((name + "_cpu").c_str(), [=](const Inputs&... inputs, int threads) {
        const auto args = make(inputs...);
        return run_cpu(elements_touched(args), [&] { return cpu(args, threads); });
    });
#ifdef IBRL_WITH_CUDA
    m.def((name + "_cuda").c_str(), [=](const Inputs&... inputs, int device, Address stream) {
        cuda(make(inputs...), device, stream);
    });
#endif
}

}  // namespace ibrl
