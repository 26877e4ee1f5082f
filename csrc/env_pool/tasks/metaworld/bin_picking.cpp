// Carry a block from one bin into another. Source: metaworld 3.1.1, SawyerBinPickingEnvV3.
#include <algorithm>
#include <limits>

#include "env_pool/tasks/metaworld/lift_marks.h"
#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

constexpr double kGoalRadius = 0.05;  // m

class BinPicking final : public SawyerEnv {
  public:
    BinPicking(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled), block_(body("obj")), bin_(body("bin_goal")) {}

  protected:
    bool accepts(const double*) const override { return true; }

    // Only the block moves: the drawn goal goes unused.
    void edit_model(const double*) override {}

    void place(const double* rv) override {
        obj_init_pos_ = {rv[0], rv[1], body_position(block_)[2]};
        put_object();
        first_distance_ = std::numeric_limits<double>::quiet_NaN();

        // Of the way to the bin, heights count once.
        const double* bin = goal_position();
        lift_.note(body_position(block_)[2], obj_init_pos_, bin);
        lift_.max_placing_distance =
            norm2(obj_init_pos_[0] - bin[0], obj_init_pos_[1] - bin[1]) + lift_.height_target;
    }

    const double* goal_position() const override { return body_position(bin_); }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(block_), 3, frame + 4);
        std::copy_n(data_->xquat + 4 * block_, 4, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double *hand = obs, *block = obs + 4, *bin = goal_position();
        const double to_target = distance3(block, bin);
        if (std::isnan(first_distance_)) first_distance_ = to_target;
        Evaluation result;
        result.success = to_target <= kGoalRadius;
        if (!want_reward) return result;
        if (to_target < kGoalRadius) {
            result.reward = 10.0;
            return result;
        }

        const double in_place = long_tail_tolerance(to_target, 0.0, kGoalRadius, first_distance_);
        const Scalar grasped = caging_reward(action, block,
                                             {.obj_radius = 0.015,
                                              .pad_success_thresh = 0.05,
                                              .object_reach_radius = 0.01,
                                              .xz_thresh = 0.01,
                                              .desired_gripper_effort = 0.7,
                                              .high_density = true});
        Scalar reward = hamacher_product(grasped, in_place);

        // A held block goes from bin to bin through the air: two funnels keep the hand off their edges.
        const bool is_held =
            distance3(block, hand) < 0.04 && block[2] - 0.02 > obj_init_pos_[2] && !(obs[3] < 0.43);
        if (is_held) {
            const double floor = std::min(
                funnel_height(norm2(hand[0] - obj_init_pos_[0], hand[1] - obj_init_pos_[1]), 0.03, 0.02, 0.2),
                funnel_height(norm2(hand[0] - bin[0], hand[1] - bin[1]), 0.03, 0.02, 0.2));
            const double above = above_funnel(hand[2], floor, 0.05);
            reward = reward + (1.0 + 5.0 * hamacher_product(above, in_place).value);
        }
        result.reward = reward.value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        lift_.list_all(list);
        list->push_back({"_target_to_obj_init", &first_distance_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
        list->push_back({"pickCompleted", &pick_completed_, 1, true});
        list->push_back({"placeCompleted", &place_completed_, 1, true});
    }

  private:
    int block_, bin_;
    mutable double first_distance_ = 0.0;  // to the goal after an episode's first step; NaN before
    LiftMarks lift_{.threshold = 0.1};
    double obj_init_angle_ = 0.3, pick_completed_ = 0.0, place_completed_ = 0.0;
};

}  // namespace

SawyerTasks bin_picking_tasks() {
    return {
        {.name = "bin-picking",
         .spec = {.model_path = "sawyer_xyz/sawyer_bin_picking.xml",
                  .hand_low = {-0.5, 0.40, 0.07},
                  .random_low = {-0.21, 0.65, 0.02, 0.1199, 0.699, -0.001},
                  .random_high = {-0.03, 0.75, 0.02, 0.1201, 0.701, 0.001},
                  .goal_low = {0.1199, 0.699, -0.001},
                  .goal_high = {0.1201, 0.701, 0.001}},
         .settles_alike = true,
         .make = make_sawyer<BinPicking>},
    };
}

}  // namespace ibrl::metaworld
