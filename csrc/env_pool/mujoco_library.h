// libmujoco, loaded at run time from wherever the mujoco package is installed: the extension imports without
// it.
#pragma once

#include <string>

namespace ibrl {

// Loads the library and binds every function of it that is used here; once is enough.
// Errors: MujocoVersionError where it is of another version than the headers, or lacks a function.
void load_mujoco(const std::string& path);

// Errors: std::runtime_error before load_mujoco.
void require_mujoco();

// The headers' version, such as "3.3.0".
std::string mujoco_version();

}  // namespace ibrl
