// Operational-space control of the Panda's hand (OSC_POSE). Source: robosuite 1.5.2, controllers/parts/arm/osc.py and
// utils/control_utils.py; Khatib, "A unified approach for motion and force control", 1987.
#pragma once

#include <mujoco/mujoco.h>

#include <vector>

#include "env_pool/tasks/robosuite/small_matrix.h"

namespace ibrl::robosuite {

constexpr int kArmJoints = 7;

class OperationalSpaceController {
  public:
    using Joints = Vector<kArmJoints>;

    explicit OperationalSpaceController(const mjModel* model);

    // An episode begins: torques that do not move the hand pull the arm to its present posture, and the first ones
    // are computed from what is read now. Positions and inertias must be up to date.
    void begin(const mjModel* model, const mjData* data);

    // A state is restored in the middle of an episode that began in this posture, rad.
    void resume(const Joints& posture);
    const Joints& posture() const { return posture_; }

    // The pose to reach: the current one moved by an action [6] in [-1, 1], in the frame of the arm's base. Positions,
    // inertias and velocity terms must be up to date.
    void set_goal(const mjModel* model, const mjData* data, const float* action);

    // Writes the torques, Nm, that move the hand to its goal; what is up to date as above.
    void apply(const mjModel* model, mjData* data);

    int hand_site() const { return hand_site_; }
    int joint_position(int joint) const { return qpos_[joint]; }  // index into qpos

  private:
    void read(const mjModel* model, const mjData* data);
    Vector<6> desired_acceleration(const mjData* data) const;

    int hand_site_, base_site_;
    int qpos_[kArmJoints], dofs_[kArmJoints], actuators_[kArmJoints];
    Joints posture_{};
    Vector<3> goal_position_{};  // m, in the base's frame
    Matrix<3> goal_rotation_{};

    // What was read last.
    bool has_read_ = false;
    Vector<3> hand_position_;
    Matrix<3> hand_rotation_;
    Matrix<6, kArmJoints> jacobian_;  // rows: position, then rotation
    Matrix<kArmJoints> mass_;
    Joints position_, velocity_;
    std::vector<double> full_mass_, full_jacobian_;  // scratch
};

}  // namespace ibrl::robosuite
