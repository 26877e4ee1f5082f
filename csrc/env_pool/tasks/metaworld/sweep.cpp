// Sweep a block to the table's right edge. Source: metaworld 3.1.1, SawyerSweepEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/swept_block.h"

namespace ibrl::metaworld {
namespace {

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

}  // namespace

SawyerTask sweep_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_sweep_v3.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.1, 0.6, 0.02},
                    .random_high = {0.1, 0.7, 0.02},
                    .goal_low = {0.49, 0.6, 0.00},
                    .goal_high = {0.51, 0.7, 0.02}};
    return {spec, true, make_sawyer<Sweep>};
}

}  // namespace ibrl::metaworld
