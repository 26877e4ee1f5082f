// What door lock tasks share: a lever on a door that a draw moves, observed by a place on the lever.
#pragma once

#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {

class Lock : public SawyerEnv {
  protected:
    static constexpr double kLockLength = 0.1;        // m
    static constexpr Vec3 kScale = {0.25, 1.0, 0.5};  // what errors in x, y and z count

    // The observed place and the goal relative to the lever's start (m).
    Lock(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
         const char* observed_site, const Vec3& goal_offset)
        : SawyerEnv(std::move(base), spec, settled),
          goal_offset_(goal_offset),
          door_(body("door")),
          link_(body("door_link")),
          lever_(body("lock_link")),
          observed_(site(observed_site)) {
        start_is_kept_ = false;  // the published tasks keep a window on where the lever is now
    }

    // After the door has moved.
    virtual void update_lock() = 0;

    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override { set_body_pos(door_, {rv[0], rv[1], rv[2]}); }

    void place(const double* rv) override {
        edit_model(rv);
        update_lock();
        for (int i = 0; i < 3; ++i) target_pos_[i] = lever()[i] + goal_offset_[i];
        max_pull_distance_ = distance3(target_pos_.data(), lever());
    }

    void observe_objects(double* frame) const override {
        std::copy_n(site_position(observed_), 3, frame + 4);
        std::copy_n(data_->xquat + 4 * link_, 4, frame + 7);
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxPullDist", &max_pull_distance_, 1, true});
    }

    const double* lever() const { return body_position(lever_); }

  private:
    const Vec3 goal_offset_;
    int door_, link_, lever_, observed_;
    double max_pull_distance_ = 0.0;
};

// Locks stand in the same places; the tasks differ in the goals that observations admit.
inline SawyerSpec lock_spec(const Vec3& goal_low, const Vec3& goal_high) {
    const double hand_height = 0.2f, hand_y = 0.6f;  // published as float32
    return {.model_path = "sawyer_xyz/sawyer_door_lock.xml",
            .hand_low = {-0.5, 0.40, -0.15},
            .hand_high = {0.5, 1.0, 0.5},
            .hand_init = {0.0, hand_y, hand_height},
            .random_low = {-0.1, 0.8, 0.15},
            .random_high = {0.1, 0.85, 0.15},
            .goal_low = goal_low,
            .goal_high = goal_high};
}

}  // namespace ibrl::metaworld
