// A peg to be pushed into the side of a box, or pulled out of it.
#include <algorithm>
#include <string>

#include "env_pool/tasks/metaworld/lift_marks.h"
#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

// How far a point has come from the corner `zero` to the corner `one` of a box; 1 outside of the box.
double prism_progress(const double* point, const double* zero, const double* one) {
    double progress = 1.0;
    for (int i = 0; i < 3; ++i) {
        const double low = std::min(zero[i], one[i]), high = std::max(zero[i], one[i]);
        if (point[i] < low || point[i] > high) return 1.0;
        progress *= (point[i] - zero[i]) / (one[i] - zero[i]);
    }
    return progress;
}

// Push a peg into the side of a box. Source: metaworld 3.1.1, SawyerPegInsertionSideEnvV3.
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
    bool accepts(const double* rv) const override { return start_to_goal(rv) >= 0.1; }

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
        result.reward = carry_reward(grasped, in_place.value, held).value;
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

// Pull a plug out of a wall. Source: metaworld 3.1.1, SawyerPegUnplugSideEnvV3.
class PegUnplugSide final : public SawyerEnv {
  public:
    PegUnplugSide(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          plug_(body("plug1")),
          wall_(body("box")),
          plug_end_(site("pegEnd")),
          goal_(site("goal")) {}

  protected:
    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override { set_body_pos(wall_, {rv[0], rv[1], rv[2]}); }

    void place(const double* rv) override {
        // The plug starts in the wall, upright, and keeps the spin that it has.
        edit_model(rv);
        const double plug[7] = {rv[0] + 0.044, rv[1], rv[2] + 0.131, 1.0, 0.0, 0.0, 0.0};
        set_positions(kArmJoints, plug, 7, kArmJoints, 3);
        std::copy_n(site_position(plug_end_), 3, obj_init_pos_.begin());
        target_pos_ = {plug[0] + 0.15, plug[1], plug[2]};
        set_site_pos(goal_, target_pos_);
        max_placing_distance_ = distance3(target_pos_.data(), obj_init_pos_.data());
    }

    void observe_objects(double* frame) const override {
        std::copy_n(site_position(plug_end_), 3, frame + 4);
        std::copy_n(data_->xquat + 4 * plug_, 4, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double* plug = obs + 4;
        const double to_target = distance3(plug, target_pos_.data());
        Evaluation result;
        result.success = to_target <= 0.07;
        if (!want_reward) return result;
        if (to_target <= 0.05) {
            result.reward = 10.0;
            return result;
        }

        Scalar reward = 2.0 * caging_reward(action, plug,
                                            {.obj_radius = 0.025,
                                             .pad_success_thresh = 0.05,
                                             .object_reach_radius = 0.01,
                                             .xz_thresh = 0.005,
                                             .desired_gripper_effort = 0.8,
                                             .high_density = true});
        const bool is_out = obs[3] > 0.5 && plug[0] - obj_init_pos_[0] > 0.015 &&
                            distance3(plug, tcp_center().data()) < 0.035;
        if (is_out) {
            const double margin = distance3(obj_init_pos_.data(), target_pos_.data());
            reward = 1.0 + reward + 5.0 * long_tail_tolerance(to_target, 0.0, 0.05, margin);
        }
        result.reward = reward.value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxPlacingDist", &max_placing_distance_, 1, true});
    }

  private:
    int plug_, wall_, plug_end_, goal_;
    double max_placing_distance_ = 0.0;
};

}  // namespace

SawyerTasks peg_tasks() {
    return {
        {.name = "peg-insert-side",
         .spec = {.model_path = "sawyer_xyz/sawyer_peg_insertion_side.xml",
                  .random_low = {0.0, 0.5, 0.02, -0.35, 0.4, -0.001},
                  .random_high = {0.2, 0.7, 0.02, -0.25, 0.7, 0.001},
                  .goal_low = {-0.32, 0.4, 0.129},
                  .goal_high = {-0.22, 0.7, 0.131}},
         .settles_alike = true,
         .make = make_sawyer<PegInsertSide>},
        {.name = "peg-unplug-side",
         .spec = {.model_path = "sawyer_xyz/sawyer_peg_unplug_side.xml",
                  .random_low = {-0.25, 0.6, -0.001},
                  .random_high = {-0.15, 0.8, 0.001},
                  .goal_low = {-0.25 + 0.194, 0.6, -0.001 + 0.131},
                  .goal_high = {-0.15 + 0.194, 0.8, 0.001 + 0.131}},
         .settles_alike = false,
         .make = make_sawyer<PegUnplugSide>},
    };
}

}  // namespace ibrl::metaworld
