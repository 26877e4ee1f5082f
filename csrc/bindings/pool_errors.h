// The pool's exceptions as Python's: the package's own classes of error.
#pragma once

#include <exception>

namespace ibrl::bindings {

void translate_pool_error(std::exception_ptr error);

}  // namespace ibrl::bindings
