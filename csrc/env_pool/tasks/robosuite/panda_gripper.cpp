#include "env_pool/tasks/robosuite/panda_gripper.h"

#include <algorithm>
#include <string>

#include "env_pool/mujoco_model.h"

namespace ibrl::robosuite {

PandaGripper::PandaGripper(const mjModel* model) {
    for (int i = 0; i < 2; ++i) {
        const std::string number = std::to_string(i + 1);
        const int joint = find_id(model, mjOBJ_JOINT, "gripper0_right_finger_joint" + number);
        qpos_[i] = model->jnt_qposadr[joint];
        actuators_[i] = find_id(model, mjOBJ_ACTUATOR, "gripper0_right_gripper_finger_joint" + number);
    }
}

void PandaGripper::move(float action) {
    constexpr double kSpeed = 0.2;  // of the command's range [-1, 1] per control step
    const double sign = (action > 0.0f) - (action < 0.0f);
    for (int i = 0; i < 2; ++i) {
        const double direction = i == 0 ? -kSpeed : kSpeed;
        command_[i] = std::min(std::max(command_[i] + direction * sign, -1.0), 1.0);
    }
}

void PandaGripper::apply(const mjModel* model, mjData* data) const {
    for (int i = 0; i < 2; ++i) {
        const double* range = model->actuator_ctrlrange + 2 * actuators_[i];
        const double middle = 0.5 * (range[1] + range[0]), half = 0.5 * (range[1] - range[0]);
        data->ctrl[actuators_[i]] = std::min(std::max(middle + half * command_[i], range[0]), range[1]);
    }
}

void PandaGripper::place(mjData* data) const {
    data->qpos[qpos_[0]] = 0.020833;
    data->qpos[qpos_[1]] = -0.020833;
}

}  // namespace ibrl::robosuite
