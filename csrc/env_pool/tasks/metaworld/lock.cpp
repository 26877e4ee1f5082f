// A lever on a door that a draw moves, observed by a place on the lever.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

class Lock : public SawyerEnv {
  protected:
    static constexpr double kLockLength = 0.1;             // m
    static constexpr double kScale[3] = {0.25, 1.0, 0.5};  // what errors in x, y and z count

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
SawyerSpec lock_spec(const Vec3& goal_low, const Vec3& goal_high) {
    return {.model_path = "sawyer_xyz/sawyer_door_lock.xml",
            .hand_low = kDeepHandLow,
            .hand_init = kHandInitSingle,
            .random_low = {-0.1, 0.8, 0.15},
            .random_high = {0.1, 0.85, 0.15},
            .goal_low = goal_low,
            .goal_high = goal_high};
}

// Turn a door's lock down. Source: metaworld 3.1.1, SawyerDoorLockEnvV3.
class DoorLock final : public Lock {
  public:
    DoorLock(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Lock(std::move(base), spec, settled, "lockStartLock", {0.0, -0.04, -0.1}) {}

  protected:
    void update_lock() override { substeps(kFrameSkip); }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* lock = obs + 4;
        const double left = std::abs(target_pos_[2] - lock[2]);
        Evaluation result;
        result.success = left <= 0.02;
        if (!want_reward) return result;

        // An open gripper whose left pad is at the lock. The published margin is the pad's present distance.
        const double distance = scaled_distance3(lock, body_position(left_pad_), kScale);
        const double near = long_tail_tolerance(distance, 0.0, 0.01, distance);
        const double locked = long_tail_tolerance(left, 0.0, 0.005, kLockLength);
        result.reward = 2.0 * hamacher_product(obs[3], near).value + 8.0 * locked;
        return result;
    }
};

constexpr Vec3 kShoulder = {0.0, 0.055, 0.07};  // m from the hand to what pushes the lock

// Turn a door's lock sideways. Source: metaworld 3.1.1, SawyerDoorUnlockEnvV3.
class DoorUnlock final : public Lock {
  public:
    DoorUnlock(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Lock(std::move(base), spec, settled, "lockStartUnlock", {0.1, -0.04, 0.0}) {}

  protected:
    void update_lock() override {
        const double locked = 1.5708;
        set_positions(kArmJoints, &locked, 1, kArmJoints, 1);
    }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* lock = obs + 4;
        const double left = std::abs(target_pos_[0] - lock[0]);
        Evaluation result;
        result.success = left <= 0.02;
        if (!want_reward) return result;

        // The shoulder at the lock, judged against its start's distance to where the lever is now.
        double shoulder[3], start[3];
        for (int i = 0; i < 3; ++i) {
            shoulder[i] = obs[i] + kShoulder[i];
            start[i] = init_tcp_[i] + kShoulder[i];
        }
        const double ready = long_tail_tolerance(scaled_distance3(shoulder, lock, kScale), 0.0, 0.02,
                                                 scaled_distance3(start, lever(), kScale));
        const double pushed = long_tail_tolerance(left, 0.0, 0.005, kLockLength);
        result.reward = 2.0 * ready + 8.0 * pushed;
        return result;
    }
};

}  // namespace

SawyerTasks lock_tasks() {
    return {
        {.name = "door-lock",
         .spec = lock_spec(kDeepHandLow, kHandHigh),
         .settles_alike = false,
         .make = make_sawyer<DoorLock>},
        {.name = "door-unlock",
         .spec = lock_spec({0.0, 0.64, 0.21}, {0.2, 0.7, 0.2111}),
         .settles_alike = false,
         .make = make_sawyer<DoorUnlock>},
    };
}

}  // namespace ibrl::metaworld
