// Push a peg into the side of a box. Source: metaworld 3.1.1, SawyerPegInsertionSideEnvV3.
#include <algorithm>
#include <string>

#include "env_pool/tasks/metaworld/lift_marks.h"
#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

// How far a point has come from the corner `zero` to the corner `one` of a box that it is inside of; 1
// outside.
double prism_progress(const double* point, const double* zero, const double* one) {
    double progress = 1.0;
    for (int i = 0; i < 3; ++i) {
        const double low = std::min(zero[i], one[i]), high = std::max(zero[i], one[i]);
        if (point[i] < low || point[i] > high) return 1.0;
        progress *= (point[i] - zero[i]) / (one[i] - zero[i]);
    }
    return progress;
}

class PegInsertSide final : public SawyerEnv {
  public:
    PegInsertSide(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          peg_(body("peg")),
          box_(body("box")),
          grasp_(site("pegGrasp")),
          head_(site("pegHead")),
          goal_(site("goal")) {
        for (int i = 0; i < 2; ++i) {
            const std::string suffix = "corner_collision_box_" + std::to_string(i + 1);
            low_corner_[i] = site(("bottom_right_" + suffix).c_str());
            high_corner_[i] = site(("top_left_" + suffix).c_str());
        }
    }

  protected:
    bool accepts(const double* rv) const override { return norm2(rv[0] - rv[3], rv[1] - rv[4]) >= 0.1; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[3] + 0.03, rv[4], rv[5] + 0.13};
        set_body_pos(box_, {rv[3], rv[4], rv[5]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        std::copy_n(site_position(head_), 3, head_init_pos_.begin());
        set_positions(kArmJoints, rv, 3, kArmJoints, 6);
        edit_model(rv);
        lift_.note(body_position(peg_)[2], obj_init_pos_, target_pos_.data());
    }

    void observe_objects(double* frame) const override {
        std::copy_n(site_position(grasp_), 3, frame + 4);
        quaternion_from_matrix(data_->site_xmat + 9 * grasp_, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double *peg = obs + 4, *head = site_position(head_);
        const double to_target = scaled_distance(head);
        Evaluation result;
        result.success = to_target <= 0.07;
        if (!want_reward) return result;
        if (result.success) {
            result.reward = 10.0;
            return result;
        }

        // The head on its way to the hole, discounted while it is beside it in front of the box.
        Scalar in_place = long_tail_tolerance(to_target, 0.0, 0.07, scaled_distance(head_init_pos_.data()));
        double boxes[2];
        for (int i = 0; i < 2; ++i) {
            boxes[i] = prism_progress(head, site_position(low_corner_[i]), site_position(high_corner_[i]));
        }
        in_place = hamacher_product(in_place, hamacher_product(boxes[1], boxes[0]));

        const bool held = is_at_gripper(obs, peg, 0.08) && peg[2] - 0.01 > obj_init_pos_[2];
        const Scalar grasped = held ? Scalar(1.0)
                                    : caging_reward(action, peg,
                                                    {.obj_radius = 0.0075,
                                                     .pad_success_thresh = 0.03,
                                                     .object_reach_radius = 0.01,
                                                     .xz_thresh = 0.005,
                                                     .high_density = true});
        Scalar reward = hamacher_product(grasped, in_place);
        if (held) reward = reward + (Scalar(1.0) + Scalar(5.0) * in_place);
        result.reward = reward.value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        lift_.list_all(list);
        list->push_back({"peg_head_pos_init", head_init_pos_.data(), 3});
    }

  private:
    // Distance of a point to the goal; y and z count twice.
    double scaled_distance(const double* point) const {
        return scaled_distance3(point, target_pos_.data(), {1.0, 2.0, 2.0});
    }

    int peg_, box_, grasp_, head_, goal_;
    int low_corner_[2], high_corner_[2];
    Vec3 head_init_pos_{};
    LiftMarks lift_{.threshold = 0.11};
};

}  // namespace

SawyerTask peg_insert_side_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_peg_insertion_side.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {0.0, 0.5, 0.02, -0.35, 0.4, -0.001},
                    .random_high = {0.2, 0.7, 0.02, -0.25, 0.7, 0.001},
                    .goal_low = {-0.32, 0.4, 0.129},
                    .goal_high = {-0.22, 0.7, 0.131}};
    return {spec, true, make_sawyer<PegInsertSide>};
}

}  // namespace ibrl::metaworld
