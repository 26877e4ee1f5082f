// Errors that Python has classes of its own for; all others are std::invalid_argument or std::runtime_error.
#pragma once

#include <stdexcept>

namespace ibrl {

// This machine cannot draw.
class RenderingError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// A device to draw with that does not exist.
class RenderDeviceError : public std::invalid_argument {
  public:
    using std::invalid_argument::invalid_argument;
};

// A pool used by two threads at once, or by another process than its own.
class PoolInUseError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// A call of a thread that outlives the interpreter.
class InterpreterEnding : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// A MuJoCo of another version than the headers'.
class MujocoVersionError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// A random vector that the task does not accept.
class RandVecError : public std::invalid_argument {
  public:
    using std::invalid_argument::invalid_argument;
};

}  // namespace ibrl
