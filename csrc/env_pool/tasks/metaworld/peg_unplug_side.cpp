// Pull a plug out of a wall. Source: metaworld 3.1.1, SawyerPegUnplugSideEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

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

SawyerTask peg_unplug_side_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_peg_unplug_side.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.25, 0.6, -0.001},
                    .random_high = {-0.15, 0.8, 0.001},
                    .goal_low = {-0.25 + 0.194, 0.6, -0.001 + 0.131},
                    .goal_high = {-0.15 + 0.194, 0.8, 0.001 + 0.131}};
    return {spec, false, make_sawyer<PegUnplugSide>};
}

}  // namespace ibrl::metaworld
