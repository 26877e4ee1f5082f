// The extension module ibrl_fast._core: one line for each part that is built in.
#include <pybind11/pybind11.h>

void bind_kernels(pybind11::module_& m);
void bind_mlp(pybind11::module_& m);
#ifdef IBRL_WITH_MUJOCO
void bind_env_pool(pybind11::module_& m);
#endif

PYBIND11_MODULE(_core, m) {
    m.doc() = "Compiled kernels and environment pool of ibrl_fast.";
    bind_kernels(m);
    bind_mlp(m);
#ifdef IBRL_WITH_MUJOCO
    m.attr("with_mujoco") = true;
    bind_env_pool(m);
#else
    m.attr("with_mujoco") = false;
#endif
}
