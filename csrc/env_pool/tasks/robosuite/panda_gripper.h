// The Panda's gripper: an action moves the command of both fingers by a bounded amount. Source: robosuite 1.5.2,
// models/grippers/panda_gripper.py and controllers/parts/gripper/simple_grip.py.
#pragma once

#include <mujoco/mujoco.h>

#include "env_pool/tasks/robosuite/small_matrix.h"

namespace ibrl::robosuite {

class PandaGripper {
  public:
    explicit PandaGripper(const mjModel* model);

    // The command of each finger, in [-1, 1].
    const Vector<2>& command() const { return command_; }
    void set_command(const Vector<2>& command) { command_ = command; }

    // Once a control step: a positive action closes, a negative one opens, 0 leaves the command.
    void move(float action);
    void apply(const mjModel* model, mjData* data) const;

    // Where an episode starts, m.
    void place(mjData* data) const;
    int joint_position(int finger) const { return qpos_[finger]; }  // index into qpos

  private:
    int qpos_[2], actuators_[2];
    Vector<2> command_{};
};

}  // namespace ibrl::robosuite
