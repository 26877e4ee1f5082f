// Rotations and poses as robosuite computes them, single precision included. Source: robosuite 1.5.2,
// utils/transform_utils.py.
#pragma once

#include "env_pool/tasks/robosuite/small_matrix.h"

namespace ibrl::robosuite {

// Quaternion (x, y, z, w) of a rotation vector [3], rad.
Vector<4> quaternion_from_rotation_vector(const double* vector);

// Rotation matrix of a quaternion (x, y, z, w): in single precision but for the diagonal.
Matrix<3> matrix_from_quaternion(const double* quaternion);

// Pose of an object (position 3, quaternion x, y, z, w) in the frame of another, which go through single precision.
Vector<7> relative_pose(const double* object, const double* frame);

}  // namespace ibrl::robosuite
