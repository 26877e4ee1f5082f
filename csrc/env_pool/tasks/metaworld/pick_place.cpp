// Lift a puck to a place in the air. Source: metaworld 3.1.1, SawyerPickPlaceEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

class PickPlace final : public SawyerEnv {
  public:
    PickPlace(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          object_(body("obj")),
          object_geom_(find_id(model(), mjOBJ_GEOM, "objGeom")),
          goal_(site("goal")) {}

  protected:
    bool accepts(const double* rv) const override { return norm2(rv[0] - rv[3], rv[1] - rv[4]) >= 0.15; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[3], rv[4], rv[5]};
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        set_positions(9, rv, 3, 9, 6);
        edit_model(rv);
        object_height_ = data_->geom_xpos[3 * object_geom_ + 2];
        height_target_ = object_height_ + 0.04;
        const double start[3] = {obj_init_pos_[0], obj_init_pos_[1], height_target_};
        max_placing_distance_ = distance3(start, target_pos_.data()) + height_target_;
        max_push_distance_ = norm2(obj_init_pos_[0] - target_pos_[0], obj_init_pos_[1] - target_pos_[1]);
    }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(object_), 3, frame + 4);
        quaternion_from_matrix(data_->geom_xmat + 9 * object_geom_, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double* puck = obs + 4;
        const double to_target = distance3(puck, target_pos_.data());
        Evaluation result;
        result.success = to_target <= 0.07;
        if (!want_reward) return result;
        if (to_target < 0.05) {
            result.reward = 10.0;
            return result;
        }
        const Scalar in_place =
            long_tail_tolerance(to_target, 0.0, 0.05, distance3(obj_init_pos_.data(), target_pos_.data()));
        Scalar reward = hamacher_product(grasp_reward(action, puck), in_place);
        const bool held =
            distance3(puck, tcp_center().data()) < 0.02 && obs[3] > 0.0 && puck[2] - 0.01 > obj_init_pos_[2];
        if (held) reward = reward + (Scalar(1.0) + Scalar(5.0) * in_place);
        result.reward = reward.value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"heightTarget", &height_target_, 1, true});
        list->push_back({"maxPlacingDist", &max_placing_distance_, 1, true});
        list->push_back({"maxPushDist", &max_push_distance_, 1, true});
        list->push_back({"objHeight", &object_height_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    }

  private:
    // This task's own caging: margins follow the pads as they are now (the published code keeps live views of
    // them).
    Scalar grasp_reward(const float* action, const double* puck) const {
        const double left = body_position(left_pad_)[1] - puck[1],
                     right = puck[1] - body_position(right_pad_)[1];
        const double left_caging = long_tail_tolerance(left, 0.015, 0.05, std::abs(std::abs(left) - 0.05));
        const double right_caging = long_tail_tolerance(right, 0.015, 0.05, std::abs(std::abs(right) - 0.05));
        const Scalar caging_y = hamacher_product(left_caging, right_caging);

        const Vec3 tcp = tcp_center();
        const double margin = norm2(obj_init_pos_[0] - init_tcp_[0], obj_init_pos_[2] - init_tcp_[2]) - 0.005;
        const Scalar caging_xz =
            long_tail_tolerance(norm2(tcp[0] - puck[0], tcp[2] - puck[2]), 0.0, 0.005, margin);
        const Scalar caging = hamacher_product(caging_y, caging_xz);
        return (hamacher_product(caging, caging.value > 0.97 ? closing_effort(action) : Scalar(0.0)) +
                caging) /
               2.0;
    }

    int object_, object_geom_, goal_;
    double height_target_ = 0.0, max_placing_distance_ = 0.0, max_push_distance_ = 0.0, object_height_ = 0.0;
    double obj_init_angle_ = 0.3;
};

}  // namespace

SawyerTask pick_place_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_pick_place_v3.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.1, 0.6, 0.02, -0.1, 0.8, 0.05},
                    .random_high = {0.1, 0.7, 0.02, 0.1, 0.9, 0.3},
                    .goal_low = {-0.1, 0.8, 0.05},
                    .goal_high = {0.1, 0.9, 0.3}};
    return {spec, true, make_sawyer<PickPlace>};
}

}  // namespace ibrl::metaworld
