#include "bindings/pool_errors.h"

#include <pybind11/pybind11.h>

#include <new>
#include <stdexcept>

#include "env_pool/errors.h"

namespace py = pybind11;

namespace ibrl::bindings {
namespace {

// Raises the package's own class of error, which lives in Python.
void raise(const char* module, const char* name, const char* message) {
    try {
        PyErr_SetString(py::module_::import(module).attr(name).ptr(), message);
    } catch (py::error_already_set&) {
        PyErr_SetString(PyExc_RuntimeError, message);
    }
}

}  // namespace

void translate_pool_error(std::exception_ptr error) {
    try {
        if (error) std::rethrow_exception(error);
    } catch (const RenderingError& e) {
        raise("ibrl_fast.envs.rendering", "RenderingUnavailableError", e.what());
    } catch (const RenderDeviceError& e) {
        raise("ibrl_fast.envs.rendering", "RenderDeviceError", e.what());
    } catch (const PoolInUseError& e) {
        raise("ibrl_fast.envs.exclusive", "PoolInUseError", e.what());
    } catch (const MujocoVersionError& e) {
        raise("ibrl_fast.envs.native_library", "MujocoVersionError", e.what());
    } catch (const RandVecError& e) {
        raise("ibrl_fast.envs.checks", "RandVecError", e.what());
    } catch (const InterpreterEnding& e) {
        PyErr_SetString(PyExc_SystemExit, e.what());  // ends a thread without a word
    } catch (const std::bad_alloc&) {
        raise("ibrl_fast.errors", "OutOfMemoryError",
              "pool: expected memory for it, got none; lower num_envs, image_size or frame_stack");
    } catch (const std::invalid_argument& e) {
        raise("ibrl_fast.errors", "ArgumentError", e.what());
    }
}

}  // namespace ibrl::bindings
