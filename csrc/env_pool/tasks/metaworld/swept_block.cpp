// A block that is swept over the table between the fingers.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

class SweptBlock : public SawyerEnv {
  public:
    SweptBlock(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          block_(body("obj")),
          block_geom_(find_id(model(), mjOBJ_GEOM, "objGeom")),
          goal_(site("goal")) {}

  protected:
    // Where a block that is at `block` (m) shall go.
    virtual Vec3 goal_for(const double* block) const = 0;
    virtual double grasp_reward(const double* block) const = 0;

    void edit_model(const double*) override { set_site_pos(goal_, target_pos_); }
    void observe_objects(double* frame) const override { std::copy_n(body_position(block_), 3, frame + 4); }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        constexpr double kGoalRadius = 0.05;  // m
        const double* block = obs + 4;
        const Vec3 goal = goal_for(block);
        const double to_target = distance3(block, goal.data());
        Evaluation result;
        result.success = to_target <= kGoalRadius;
        if (!want_reward) return result;
        if (to_target < kGoalRadius) {
            result.reward = 10.0;
            return result;
        }
        const double in_place =
            long_tail_tolerance(to_target, 0.0, kGoalRadius, distance3(obj_init_pos_.data(), goal.data()));
        const double grasped = grasp_reward(block);
        result.reward = 2.0 * grasped + 6.0 * hamacher_product(grasped, in_place).value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxPushDist", &max_push_distance_, 1, true});
        list->push_back({"objHeight", &object_height_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    }

    // Sets the block down, at rest, for a goal that is known.
    void put_block(double x, double y, double z) {
        obj_init_pos_ = {x, y, z};
        put_object();
        max_push_distance_ = norm2(x - target_pos_[0], y - target_pos_[1]);
    }

    static constexpr double kBlockRadius = 0.02;  // m
    int block_, block_geom_;
    double object_height_ = 0.0;

  private:
    int goal_;
    double max_push_distance_ = 0.0, obj_init_angle_ = 0.3;
};

// Sweep a block to the table's right edge. Source: metaworld 3.1.1, SawyerSweepEnvV3.
class Sweep final : public SweptBlock {
  public:
    using SweptBlock::SweptBlock;

  protected:
    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        target_pos_ = {0.5, rv[1], 0.01};
        SweptBlock::edit_model(rv);
    }

    void place(const double* rv) override {
        edit_model(rv);
        put_block(rv[0], rv[1], 0.02);
        object_height_ = data_->geom_xpos[3 * block_geom_ + 2];
        height_target_ = object_height_ + lift_threshold_;
        max_reach_distance_ = distance3(init_tcp_.data(), target_pos_.data());
        const double start[3] = {obj_init_pos_[0], obj_init_pos_[1], height_target_};
        max_placing_distance_ = distance3(start, target_pos_.data()) + height_target_;
    }

    void observe_objects(double* frame) const override {
        SweptBlock::observe_objects(frame);
        std::copy_n(data_->xquat + 4 * block_, 4, frame + 7);
    }

    Vec3 goal_for(const double*) const override { return target_pos_; }

    double grasp_reward(const double* block) const override {
        return pinch_reward(block, kBlockRadius, 0.01, 0.005);
    }

    void list_attributes(std::vector<Attribute>* list) override {
        SweptBlock::list_attributes(list);
        list->push_back({"heightTarget", &height_target_, 1, true});
        list->push_back({"liftThresh", &lift_threshold_, 1, true});
        list->push_back({"maxPlacingDist", &max_placing_distance_, 1, true});
        list->push_back({"maxReachDist", &max_reach_distance_, 1, true});
    }

  private:
    double height_target_ = 0.0, lift_threshold_ = 0.04, max_placing_distance_ = 0.0,
           max_reach_distance_ = 0.0;
};

constexpr Vec3 kHole = {0.0, 0.84, 0.02};  // m

// Sweep a block into a hole in the table. Source: metaworld 3.1.1, SawyerSweepIntoGoalEnvV3.
class SweepInto final : public SweptBlock {
  public:
    using SweptBlock::SweptBlock;

  protected:
    // The published task draws a goal, judges only the block's distance to the hole, and forgets the goal.
    bool accepts(const double* rv) const override {
        return norm2(rv[0] - kHole[0], rv[1] - kHole[1]) >= 0.15;
    }

    void edit_model(const double* rv) override {
        target_pos_ = kHole;
        SweptBlock::edit_model(rv);
    }

    void place(const double* rv) override {
        edit_model(rv);
        object_height_ = body_position(block_)[2];
        put_block(rv[0], rv[1], object_height_);
    }

    void observe_objects(double* frame) const override {
        SweptBlock::observe_objects(frame);
        quaternion_from_matrix(data_->geom_xmat + 9 * block_geom_, frame + 7);
    }

    // Height does not count.
    Vec3 goal_for(const double* block) const override { return {target_pos_[0], target_pos_[1], block[2]}; }

    double grasp_reward(const double* block) const override {
        return pinch_reward(block, kBlockRadius, 0.005, 0.01);
    }
};

}  // namespace

SawyerTasks swept_block_tasks() {
    return {
        {.name = "sweep",
         .spec = {.model_path = "sawyer_xyz/sawyer_sweep_v3.xml",
                  .random_low = {-0.1, 0.6, 0.02},
                  .random_high = {0.1, 0.7, 0.02},
                  .goal_low = {0.49, 0.6, 0.00},
                  .goal_high = {0.51, 0.7, 0.02}},
         .settles_alike = true,
         .make = make_sawyer<Sweep>},
        {.name = "sweep-into",
         .spec = {.model_path = "sawyer_xyz/sawyer_table_with_hole.xml",
                  .random_low = {-0.1, 0.6, 0.02, -0.001, 0.8399, 0.0199},
                  .random_high = {0.1, 0.7, 0.02, 0.001, 0.8401, 0.0201},
                  .goal_low = {-0.001, 0.8399, 0.0199},
                  .goal_high = {0.001, 0.8401, 0.0201}},
         .settles_alike = true,
         .make = make_sawyer<SweepInto>},
    };
}

}  // namespace ibrl::metaworld
