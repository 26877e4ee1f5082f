// What door tasks share: a hinged door whose frame a draw moves, observed by its handle.
#pragma once

#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {

class Door : public SawyerEnv {
  protected:
    // The goal relative to the frame (m) and the hinge's angle at the start (radians, 0 is shut).
    Door(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
         const Vec3& goal_offset, double start_angle)
        : SawyerEnv(std::move(base), spec, settled),
          goal_offset_(goal_offset),
          start_angle_(start_angle),
          door_(body("door")),
          handle_(find_id(model(), mjOBJ_GEOM, "handle")),
          goal_(site("goal")),
          hinge_(joint_position("doorjoint")),
          hinge_speed_(model()->jnt_dofadr[find_id(model(), mjOBJ_JOINT, "doorjoint")]) {}

    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        for (int i = 0; i < 3; ++i) target_pos_[i] = rv[i] + goal_offset_[i];
        set_body_pos(door_, {rv[0], rv[1], rv[2]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        // The door has not moved while the hand settled; a cached settling leaves geoms where they were
        // before.
        mj_kinematics(model(), data_.get());
        object_height_ = data_->geom_xpos[3 * handle_ + 2];
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);
        set_positions(hinge_, &start_angle_, 1, hinge_speed_, 1);
        const double* handle = data_->geom_xpos + 3 * handle_;
        max_pull_distance_ = norm2(handle[0] - target_pos_[0], handle[1] - target_pos_[1]);
    }

    void observe_objects(double* frame) const override {
        std::copy_n(data_->geom_xpos + 3 * handle_, 3, frame + 4);
        quaternion_from_matrix(data_->geom_xmat + 9 * handle_, frame + 7);
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxPullDist", &max_pull_distance_, 1, true});
        list->push_back({"objHeight", &object_height_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    }

    double hinge_angle() const { return data_->qpos[hinge_]; }

    double max_pull_distance_ = 0.0;

  private:
    const Vec3 goal_offset_;
    const double start_angle_;
    int door_, handle_, goal_, hinge_, hinge_speed_;
    double object_height_ = 0.0, obj_init_angle_ = 0.3;
};

}  // namespace ibrl::metaworld
