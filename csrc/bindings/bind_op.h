// How a kernel becomes two Python functions: NAME_cpu(fields..., threads) and NAME_cuda(fields..., device, stream).
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

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

// Binds a kernel whose Args struct is filled with Python's arguments, field by field in their order.
template <typename Args, typename... Fields, typename Cpu, typename Cuda, typename Work>
void bind_op(pybind11::module_& m, const std::string& name, Cpu cpu, [[maybe_unused]] Cuda cuda, Work work) {
    m.def((name + "_cpu").c_str(), [cpu, work](Fields... fields, int threads) {
        const Args args{fields...};
        return run_cpu(work(args), [&] { return cpu(args, threads); });
    });
#ifdef IBRL_WITH_CUDA
    m.def((name + "_cuda").c_str(), [cuda](Fields... fields, int device, Address stream) {
        cuda(Args{fields...}, device, stream);
    });
#endif
}

}  // namespace ibrl
