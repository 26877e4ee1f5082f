// Carry a block by hand into a hole in the table. Source: metaworld 3.1.1, SawyerHandInsertEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

constexpr double kGoalRadius = 0.05;  // m

class HandInsert final : public SawyerEnv {
  public:
    HandInsert(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled), block_(body("obj")), goal_(site("goal")) {}

  protected:
    bool accepts(const double* rv) const override { return start_to_goal(rv) >= 0.15; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[3], rv[4], rv[5]};
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        compute_frame(settled_frame_.data());
        object_height_ = body_position(block_)[2];
        obj_init_pos_ = {rv[0], rv[1], 0.05};
        put_object();
        edit_model(rv);
        max_reach_distance_ = std::abs(spec_.hand_init[2] - target_pos_[2]);
    }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(block_), 3, frame + 4);
        std::copy_n(data_->xquat + 4 * block_, 4, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double* block = obs + 4;
        const double to_target = distance3(block, target_pos_.data());
        Evaluation result;
        result.success = to_target <= kGoalRadius;
        if (!want_reward) return result;
        if (to_target < kGoalRadius) {
            result.reward = 10.0;
            return result;
        }
        const double in_place = long_tail_tolerance(to_target, 0.0, kGoalRadius,
                                                    distance3(obj_init_pos_.data(), target_pos_.data()));
        const Scalar grasped = caging_reward(action, block,
                                             {.obj_radius = 0.015,
                                              .pad_success_thresh = 0.05,
                                              .object_reach_radius = 0.01,
                                              .xz_thresh = 0.005,
                                              .high_density = true});
        result.reward = carry_reward(grasped, in_place, is_at_gripper(obs, block, 0.02), 7.0).value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxReachDist", &max_reach_distance_, 1, true});
        list->push_back({"objHeight", &object_height_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
        list->push_back({"prev_obs", settled_frame_.data(), kFrameDim});
    }

  private:
    int block_, goal_;
    std::array<double, kFrameDim> settled_frame_{};
    double max_reach_distance_ = 0.0, object_height_ = 0.0, obj_init_angle_ = 0.3;
};

}  // namespace

SawyerTasks hand_insert_tasks() {
    return {
        {.name = "hand-insert",
         .spec = {.model_path = "sawyer_xyz/sawyer_table_with_hole.xml",
                  .hand_low = kDeepHandLow,
                  .hand_init = kHandInitSingle,
                  .random_low = {-0.1, 0.6, 0.05, -0.04, 0.8, -0.0201},
                  .random_high = {0.1, 0.7, 0.05, 0.04, 0.88, -0.0199},
                  .goal_low = {-0.04, 0.8, -0.0201},
                  .goal_high = {0.04, 0.88, -0.0199}},
         .settles_alike = true,
         .make = make_sawyer<HandInsert>},
    };
}

}  // namespace ibrl::metaworld
