// Python face of the kernels: addresses, sizes and strides in, nothing computed here.
#include <pybind11/pybind11.h>

namespace py = pybind11;

void bind_kernels(py::module_& m) {
#ifdef IBRL_WITH_CUDA
    m.attr("with_cuda") = true;
#else
    m.attr("with_cuda") = false;
#endif
}
