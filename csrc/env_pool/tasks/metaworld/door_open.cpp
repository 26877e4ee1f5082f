// Pull a door open. Source: metaworld 3.1.1, SawyerDoorEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

constexpr double kPi = 3.14159265358979323846;

class DoorOpen final : public SawyerEnv {
  public:
    DoorOpen(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          door_(body("door")),
          handle_(find_id(model(), mjOBJ_GEOM, "handle")),
          goal_(site("goal")),
          hinge_(joint_position("doorjoint")),
          hinge_speed_(model()->jnt_dofadr[find_id(model(), mjOBJ_JOINT, "doorjoint")]) {}

  protected:
    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[0] + -0.3, rv[1] + -0.45, rv[2]};
        set_body_pos(door_, {rv[0], rv[1], rv[2]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        object_height_ = data_->geom_xpos[3 * handle_ + 2];
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);
        const double closed = 0.0;
        set_positions(hinge_, &closed, 1, hinge_speed_, 1);
        const double* handle = data_->geom_xpos + 3 * handle_;
        max_pull_distance_ = norm2(handle[0] - target_pos_[0], handle[1] - target_pos_[1]);
        target_reward_ = 1000 * max_pull_distance_ + 1000 * 2;
    }

    void observe_objects(double* frame) const override {
        std::copy_n(data_->geom_xpos + 3 * handle_, 3, frame + 4);
        quaternion_from_matrix(data_->geom_xmat + 9 * handle_, frame + 7);
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
        const double radius = norm2(obs[0] - door[0], obs[1] - door[1]);
        const double floor = radius <= 0.12 ? 0.0 : 0.04 * std::log(radius - 0.12) + 0.4;
        const double above =
            obs[2] >= floor ? 1.0 : long_tail_tolerance(floor - obs[2], 0.0, 0.01, floor / 2.0);
        const double behind[3] = {obs[0] - door[0] - 0.05, obs[1] - door[1] - 0.03, obs[2] - door[2] - -0.01};
        const double at_handle = long_tail_tolerance(norm3(behind), 0.0, 0.12 / 2.0, 0.5);
        const Scalar ready = hamacher_product(above, at_handle);
        const float effort = (std::min(std::max(action[3], -1.0f), 1.0f) + 1.0f) / 2.0f;

        // The hinge turns backwards, to 120 degrees.
        const double theta = data_->qpos[hinge_];
        const double opened = 0.2 * (theta < -kPi / 90.0 ? 1.0 : 0.0) +
                              0.8 * long_tail_tolerance(kPi / 2.0 + kPi / 6.0 - -theta, 0.0, 0.5, kPi / 3.0);
        result.reward = 2.0 * hamacher_product(ready, static_cast<double>(effort)).value + 8.0 * opened;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxPullDist", &max_pull_distance_, 1, true});
        list->push_back({"objHeight", &object_height_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
        list->push_back({"target_reward", &target_reward_, 1, true});
    }

  private:
    int door_, handle_, goal_, hinge_, hinge_speed_;
    double max_pull_distance_ = 0.0, object_height_ = 0.0, obj_init_angle_ = 0.3, target_reward_ = 0.0;
};

}  // namespace

SawyerTask door_open_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_door_pull.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {0.0, 0.85, 0.15},
                    .random_high = {0.1, 0.95, 0.15},
                    .goal_low = {-0.3, 0.4, 0.1499},
                    .goal_high = {-0.2, 0.5, 0.1501}};
    return {spec, true, make_sawyer<DoorOpen>};
}

}  // namespace ibrl::metaworld
