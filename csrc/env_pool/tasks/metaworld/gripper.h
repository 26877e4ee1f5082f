// Rewards for taking hold of something, as Meta-World's tasks share them.
#pragma once

#include "env_pool/tasks/metaworld/rewards.h"
#include "env_pool/tasks/metaworld/sawyer_arm.h"

namespace ibrl::metaworld {

class Gripper : public SawyerArm {
  protected:
    using SawyerArm::SawyerArm;

    struct Caging {
        double obj_radius, pad_success_thresh, object_reach_radius, xz_thresh;
        double desired_gripper_effort = 1.0;
        bool high_density = false, medium_density = false;
    };
    // How far the action closes the gripper, in [0, 1]: a float32 until it is cut off.
    static Scalar closing_effort(const float* action, double desired = 1.0);

    // Reward for closing the gripper around an object at obj_pos (m).
    Scalar caging_reward(const float* action, const double* obj_pos, const Caging& caging) const;

    // The same for the first object's handle along x, of which any part is as good.
    Scalar handle_reward(const float* action, const double* obs, double half_length, bool high_density) const;

    // Whether an object (m) is within radius of the gripper's centre and the gripper not shut.
    bool is_at_gripper(const double* obs, const double* object, double radius) const;

    // Reward for an object between the pads, however the gripper is driven: some tasks' own caging. Fingers
    // that are up to grip_slack (m) wider than the object hold it.
    double pinch_reward(const double* obj_pos, double obj_radius, double grip_slack, double xz_thresh) const;
    Scalar pads_around(const double* obj_pos, double nearest, double farthest) const;  // in y, [0, 1]
    Scalar tcp_over(const double* obj_pos, double xz_thresh) const;                    // in x and z, [0, 1]

    // Where the object that the gripper cages has started, m; few tasks say otherwise.
    virtual const Vec3& cage_start() const { return obj_init_pos_; }

    Vec3 init_tcp_{};  // the gripper's centre after settling
    Vec3 obj_init_pos_{};
};

}  // namespace ibrl::metaworld
