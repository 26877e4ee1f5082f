// A stick to be grasped and a thermos that it shall move.
#pragma once

#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {

constexpr double kStickHeight = 0.02;  // m

class StickEnv : public SawyerEnv {
  public:
    struct Parts {
        std::array<double, 2> thermos_start;  // along its slides, m
        double observed_offset;               // in y from the site that is observed of it, m
        const char* distance_name;            // of the thermos to the goal, as the published task calls it
    };

    StickEnv(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
             const Parts& parts)
        : SawyerEnv(std::move(base), spec, settled),
          stick_(body("stick")),
          thermos_(body("object")),
          insertion_(site("insertion")),
          goal_(site("goal")),
          parts_(parts) {}

  protected:
    // Height of the goal; asked once the hand has settled.
    virtual double goal_height() const = 0;

    bool accepts(const double* rv) const override { return norm2(rv[0] - rv[3], rv[1] - rv[4]) >= 0.1; }

    // The goal is seen and not felt: place() knows its height.
    void edit_model(const double*) override {}

    void place(const double* rv) override {
        target_pos_ = {rv[3], rv[4], goal_height()};
        set_site_pos(goal_, target_pos_);
        stick_init_pos_ = {rv[0], rv[1], kStickHeight};
        set_positions(kArmJoints, stick_init_pos_.data(), 3, kArmJoints, 6);
        set_positions(16, parts_.thermos_start.data(), 2, 16, 1);
        std::copy_n(body_position(thermos_), 3, obj_init_pos_.begin());

        stick_height_ = body_position(stick_)[2];
        height_target_ = stick_height_ + lift_threshold_;
        max_distance_ = norm2(obj_init_pos_[0] - target_pos_[0], obj_init_pos_[1] - target_pos_[1]);
        const double lifted[3] = {obj_init_pos_[0], obj_init_pos_[1], height_target_};
        max_place_distance_ = distance3(lifted, stick_init_pos_.data()) + height_target_;
    }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(stick_), 3, frame + 4);
        quaternion_from_matrix(data_->xmat + 9 * stick_, frame + 7);
        std::copy_n(site_position(insertion_), 3, frame + 11);
        frame[12] += parts_.observed_offset;
    }

    // Whether the stick, anywhere in `stick` (m), is between the fingers and off the table.
    bool is_held(const double* obs, const double* stick) const {
        return is_at_gripper(obs, stick, 0.02) && stick[2] - 0.01 > stick_init_pos_[2];
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"heightTarget", &height_target_, 1, true});
        list->push_back({"liftThresh", &lift_threshold_, 1, true});
        list->push_back({"maxPlaceDist", &max_place_distance_, 1, true});
        list->push_back({parts_.distance_name, &max_distance_, 1, true});
        list->push_back({"obj_init_qpos", parts_.thermos_start.data(), 2});
        list->push_back({"stickHeight", &stick_height_, 1, true});
        list->push_back({"stick_init_pos", stick_init_pos_.data(), 3});
    }

    int stick_, thermos_, insertion_, goal_;
    Vec3 stick_init_pos_{};

  private:
    Parts parts_;
    double height_target_ = 0.0, lift_threshold_ = 0.04, max_place_distance_ = 0.0, max_distance_ = 0.0;
    double stick_height_ = 0.0;
};

}  // namespace ibrl::metaworld
