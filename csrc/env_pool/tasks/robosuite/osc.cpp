#include "env_pool/tasks/robosuite/osc.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "env_pool/mujoco_model.h"
#include "env_pool/tasks/robosuite/pose.h"

namespace ibrl::robosuite {
namespace {

constexpr double kPositionScale = 0.05, kRotationScale = 0.5;  // m and rad per unit of action
constexpr double kStiffness = 150.0, kPostureStiffness = 10.0;

// Rotation vector of small angles that turns `current` into `desired`, rotation matrices [9].
Vector<3> rotation_error(const Matrix<3>& desired, const Matrix<3>& current) {
    Vector<3> error{};
    for (int column = 0; column < 3; ++column) {
        for (int i = 0; i < 3; ++i) {
            const int j = (i + 1) % 3, k = (i + 2) % 3;
            error[i] += current[3 * j + column] * desired[3 * k + column] -
                        current[3 * k + column] * desired[3 * j + column];
        }
    }
    for (double& value : error) value *= 0.5;
    return error;
}

}  // namespace

OperationalSpaceController::OperationalSpaceController(const mjModel* model)
    : hand_site_(find_id(model, mjOBJ_SITE, "gripper0_right_grip_site")),
      base_site_(find_id(model, mjOBJ_SITE, "robot0_right_center")),
      full_mass_(static_cast<std::size_t>(model->nv) * model->nv),
      full_jacobian_(6 * static_cast<std::size_t>(model->nv)) {
    for (int i = 0; i < kArmJoints; ++i) {
        const std::string number = std::to_string(i + 1);
        const int joint = find_id(model, mjOBJ_JOINT, "robot0_joint" + number);
        qpos_[i] = model->jnt_qposadr[joint];
        dofs_[i] = model->jnt_dofadr[joint];
        actuators_[i] = find_id(model, mjOBJ_ACTUATOR, "robot0_torq_j" + number);
    }
}

void OperationalSpaceController::begin(const mjModel* model, const mjData* data) {
    read(model, data);
    posture_ = position_;
}

void OperationalSpaceController::resume(const Joints& posture) {
    posture_ = posture;
    has_read_ = false;
}

void OperationalSpaceController::set_goal(const mjModel* model, const mjData* data, const float* action) {
    if (!has_read_) read(model, data);
    double delta[6];
    for (int i = 0; i < 6; ++i) {
        delta[i] = static_cast<double>(action[i]) * (i < 3 ? kPositionScale : kRotationScale);
    }
    const double* base = data->site_xpos + 3 * base_site_;
    const double* base_matrix = data->site_xmat + 9 * base_site_;

    // The hand in the base's frame.
    Matrix<3> current{};
    for (int i = 0; i < 3; ++i) {
        double position = 0.0, origin = 0.0;
        for (int k = 0; k < 3; ++k) {
            position += base_matrix[3 * k + i] * hand_position_[k];
            origin += base_matrix[3 * k + i] * base[k];
            for (int j = 0; j < 3; ++j)
                current[3 * i + j] += base_matrix[3 * k + i] * hand_rotation_[3 * k + j];
        }
        goal_position_[i] = position - origin + delta[i];
    }
    const Vector<4> quaternion = quaternion_from_rotation_vector(delta + 3);
    const Matrix<3> turn = matrix_from_quaternion(quaternion.data());
    goal_rotation_.fill(0.0);
    for (int i = 0; i < 3; ++i) {
        for (int k = 0; k < 3; ++k) {
            for (int j = 0; j < 3; ++j) goal_rotation_[3 * i + j] += turn[3 * i + k] * current[3 * k + j];
        }
    }
}

void OperationalSpaceController::read(const mjModel* model, const mjData* data) {
    const int nv = model->nv;
    std::copy_n(data->site_xpos + 3 * hand_site_, 3, hand_position_.begin());
    std::copy_n(data->site_xmat + 9 * hand_site_, 9, hand_rotation_.begin());
    mj_jacSite(model, data, full_jacobian_.data(), full_jacobian_.data() + 3 * nv, hand_site_);
    mj_fullM(model, full_mass_.data(), data->qM);
    for (int i = 0; i < kArmJoints; ++i) {
        for (int row = 0; row < 6; ++row)
            jacobian_[kArmJoints * row + i] = full_jacobian_[nv * row + dofs_[i]];
        for (int j = 0; j < kArmJoints; ++j) mass_[kArmJoints * i + j] = full_mass_[nv * dofs_[i] + dofs_[j]];
        position_[i] = data->qpos[qpos_[i]];
        velocity_[i] = data->qvel[dofs_[i]];
    }
    has_read_ = true;
}

Vector<6> OperationalSpaceController::desired_acceleration(const mjData* data) const {
    const double damping = 2.0 * std::sqrt(kStiffness);
    const double* base = data->site_xpos + 3 * base_site_;
    const double* base_matrix = data->site_xmat + 9 * base_site_;
    Matrix<3> goal{};
    Vector<6> error;
    for (int i = 0; i < 3; ++i) {
        double position = base[i];
        for (int k = 0; k < 3; ++k) {
            position += base_matrix[3 * i + k] * goal_position_[k];
            for (int j = 0; j < 3; ++j) goal[3 * i + j] += base_matrix[3 * i + k] * goal_rotation_[3 * k + j];
        }
        error[i] = position - hand_position_[i];
    }
    const Vector<3> turn = rotation_error(goal, hand_rotation_);
    std::copy(turn.begin(), turn.end(), error.begin() + 3);

    // The base does not move.
    Vector<6> result;
    for (int i = 0; i < 6; ++i) {
        double speed = 0.0;
        for (int j = 0; j < kArmJoints; ++j) speed += jacobian_[kArmJoints * i + j] * velocity_[j];
        result[i] = error[i] * kStiffness - speed * damping;
    }
    return result;
}

void OperationalSpaceController::apply(const mjModel* model, mjData* data) {
    if (!has_read_) read(model, data);
    has_read_ = false;
    constexpr int n = kArmJoints;

    // Inverse inertia of the hand, J M^-1 J^T, whose diagonal blocks are those of position and rotation.
    Matrix<n> lower;
    if (!factor_cholesky<n>(mass_, &lower)) return;  // an unstable state: the step that follows says so
    Matrix<n, 6> half;
    for (int i = 0; i < n; ++i) {
        for (int row = 0; row < 6; ++row) half[6 * i + row] = jacobian_[n * row + i];
    }
    solve_lower<n, 6>(lower, &half);
    Matrix<6> inverse_inertia{};
    for (int k = 0; k < n; ++k) {
        for (int i = 0; i < 6; ++i) {
            for (int j = 0; j < 6; ++j) inverse_inertia[6 * i + j] += half[6 * k + i] * half[6 * k + j];
        }
    }

    // The wrench of each block alone.
    const Vector<6> acceleration = desired_acceleration(data);
    Vector<6> wrench;
    for (int block = 0; block < 6; block += 3) {
        Matrix<3> part;
        Vector<3> wanted;
        for (int i = 0; i < 3; ++i) {
            wanted[i] = acceleration[block + i];
            for (int j = 0; j < 3; ++j) part[3 * i + j] = inverse_inertia[6 * (block + i) + block + j];
        }
        const Vector<3> solved = solve_pseudo<3>(part, wanted);
        std::copy(solved.begin(), solved.end(), wrench.begin() + block);
    }

    // Torques towards the posture, less what of them would move the hand.
    const double damping = 2.0 * std::sqrt(kPostureStiffness);
    Joints pull;
    for (int i = 0; i < n; ++i) {
        pull[i] = kPostureStiffness * (posture_[i] - position_[i]) - damping * velocity_[i];
    }
    Vector<6> moves{};
    for (int row = 0; row < 6; ++row) {
        for (int i = 0; i < n; ++i) moves[row] += jacobian_[n * row + i] * pull[i];
    }
    const Vector<6> held = solve_pseudo<6>(inverse_inertia, moves);

    for (int i = 0; i < n; ++i) {
        double torque = data->qfrc_bias[dofs_[i]];
        for (int row = 0; row < 6; ++row) torque += jacobian_[n * row + i] * (wrench[row] - held[row]);
        for (int j = 0; j < n; ++j) torque += mass_[n * i + j] * pull[j];
        const double* range = model->actuator_ctrlrange + 2 * actuators_[i];
        data->ctrl[actuators_[i]] = std::min(std::max(torque, range[0]), range[1]);
    }
}

}  // namespace ibrl::robosuite
