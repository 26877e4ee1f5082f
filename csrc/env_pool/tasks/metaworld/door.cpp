// A hinged door whose frame a draw moves, observed by its handle.
#include <algorithm>
#include <numbers>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

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
        // The door has not moved while the hand settled; a cached settling leaves geoms where they were.
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

constexpr double kTargetRadius = 0.05;  // m

// Push an open door shut. Source: metaworld 3.1.1, SawyerDoorCloseEnvV3.
class DoorClose final : public Door {
  public:
    DoorClose(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Door(std::move(base), spec, settled, {0.2, -0.2, 0.0}, -1.5708) {}

  protected:
    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* handle = obs + 4;
        const double to_target = distance3(handle, target_pos_.data());
        Evaluation result;
        result.success = to_target <= 0.08;
        if (!want_reward) return result;
        if (to_target < kTargetRadius) {
            result.reward = 10.0;
            return result;
        }

        // Hand and handle at the goal; the hand is judged against its start's distance to the handle.
        const double in_place = gaussian_tolerance(to_target, 0.0, kTargetRadius,
                                                   distance3(obj_init_pos_.data(), target_pos_.data()));
        const double hand_in_place =
            gaussian_tolerance(distance3(tcp_center().data(), target_pos_.data()), 0.0, 0.25 * kTargetRadius,
                               distance3(spec_.hand_init.data(), handle) + 0.1);
        result.reward = 3.0 * hand_in_place + 6.0 * in_place;
        return result;
    }
};

// Pull a door open. Source: metaworld 3.1.1, SawyerDoorEnvV3.
class DoorOpen final : public Door {
  public:
    DoorOpen(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Door(std::move(base), spec, settled, {-0.3, -0.45, 0.0}, 0.0) {}

  protected:
    void place(const double* rv) override {
        Door::place(rv);
        target_reward_ = 1000 * max_pull_distance_ + 1000 * 2;
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        Evaluation result;
        result.success = std::abs(obs[4] - target_pos_[0]) <= 0.08;
        if (!want_reward) return result;
        if (result.success) {
            result.reward = 10.0;
            return result;
        }

        // Approach the handle from above: a funnel that opens upwards.
        const double door[3] = {obs[4] + -0.05, obs[5], obs[6]};
        const double floor = funnel_height(norm2(obs[0] - door[0], obs[1] - door[1]), 0.12, 0.04, 0.4);
        const double above = above_funnel(obs[2], floor, floor / 2.0);
        const double behind[3] = {obs[0] - door[0] - 0.05, obs[1] - door[1] - 0.03, obs[2] - door[2] - -0.01};
        const double at_handle = long_tail_tolerance(norm3(behind), 0.0, 0.12 / 2.0, 0.5);
        const Scalar ready = hamacher_product(above, at_handle);
        const double closed = gripper_closure(action);

        // The hinge turns backwards, to 120 degrees.
        const double theta = hinge_angle();
        const double opened =
            0.2 * (theta < -std::numbers::pi / 90.0 ? 1.0 : 0.0) +
            0.8 * long_tail_tolerance(std::numbers::pi / 2.0 + std::numbers::pi / 6.0 - -theta, 0.0, 0.5,
                                      std::numbers::pi / 3.0);
        result.reward = 2.0 * hamacher_product(ready, closed).value + 8.0 * opened;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        Door::list_attributes(list);
        list->push_back({"target_reward", &target_reward_, 1, true});
    }

  private:
    double target_reward_ = 0.0;
};

}  // namespace

SawyerTasks door_tasks() {
    return {
        {.name = "door-close",
         .spec = {.model_path = "sawyer_xyz/sawyer_door_pull.xml",
                  .hand_init = {-0.5, 0.6f, 0.2f},  // published as float32
                  .random_low = {0.0, 0.85, 0.15},
                  .random_high = {0.1, 0.95, 0.15},
                  .goal_low = {0.2, 0.65, 0.1499},
                  .goal_high = {0.3, 0.75, 0.1501}},
         .settles_alike = true,
         .make = make_sawyer<DoorClose>},
        {.name = "door-open",
         .spec = {.model_path = "sawyer_xyz/sawyer_door_pull.xml",
                  .random_low = {0.0, 0.85, 0.15},
                  .random_high = {0.1, 0.95, 0.15},
                  .goal_low = {-0.3, 0.4, 0.1499},
                  .goal_high = {-0.2, 0.5, 0.1501}},
         .settles_alike = true,
         .make = make_sawyer<DoorOpen>},
    };
}

}  // namespace ibrl::metaworld
