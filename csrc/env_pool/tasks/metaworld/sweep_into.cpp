// Sweep a block into a hole in the table. Source: metaworld 3.1.1, SawyerSweepIntoGoalEnvV3.
#include "env_pool/tasks/metaworld/swept_block.h"

namespace ibrl::metaworld {
namespace {

constexpr Vec3 kHole = {0.0, 0.84, 0.02};  // m

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

SawyerTask sweep_into_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_table_with_hole.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.1, 0.6, 0.02, -0.001, 0.8399, 0.0199},
                    .random_high = {0.1, 0.7, 0.02, 0.001, 0.8401, 0.0201},
                    .goal_low = {-0.001, 0.8399, 0.0199},
                    .goal_high = {0.001, 0.8401, 0.0201}};
    return {spec, true, make_sawyer<SweepInto>};
}

}  // namespace ibrl::metaworld
