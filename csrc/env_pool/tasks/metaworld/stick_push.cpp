// Push a thermos with a stick. Source: metaworld 3.1.1, SawyerStickPushEnvV3.
#include "env_pool/tasks/metaworld/stick_env.h"

namespace ibrl::metaworld {
namespace {

constexpr double kGoalRadius = 0.12;  // m

class StickPush final : public StickEnv {
  public:
    StickPush(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : StickEnv(std::move(base), spec, settled,
                   {.thermos_start = {0.0, 0.0}, .observed_offset = 0.09, .distance_name = "maxPushDist"}),
          stick_geom_(find_id(model(), mjOBJ_GEOM, "objGeom")),
          left_pad_geom_(find_id(model(), mjOBJ_GEOM, "leftpad_geom")),
          right_pad_geom_(find_id(model(), mjOBJ_GEOM, "rightpad_geom")) {}

  protected:
    double goal_height() const override { return site_position(insertion_)[2]; }
    const Vec3& cage_start() const override { return stick_init_pos_; }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double *thermos = obs + 11, *target = target_pos_.data();
        const double to_target = distance3(thermos, target);
        Evaluation result;
        result.success = to_target <= kGoalRadius && obs[3] > 0.0 && obs[6] - 0.01 > stick_init_pos_[2] &&
                         presses(left_pad_geom_) && presses(right_pad_geom_);
        if (!want_reward) return result;

        // Grasping the stick a little before its middle.
        const double stick[3] = {obs[4] + 0.015, obs[5], obs[6]};
        if (!is_held(obs, stick)) {
            result.reward = caging_reward(action, stick,
                                          {.obj_radius = 0.04,
                                           .pad_success_thresh = 0.05,
                                           .object_reach_radius = 0.01,
                                           .xz_thresh = 0.01,
                                           .high_density = true})
                                .value;
            return result;
        }

        // Stick and thermos to the goal.
        if (to_target <= kGoalRadius) {
            result.reward = 10.0;
            return result;
        }
        const double stick_margin = distance3(stick_init_pos_.data(), target) - kGoalRadius;
        const double thermos_margin = distance3(obj_init_pos_.data(), target) - kGoalRadius;
        result.reward = 2.0 +
                        5.0 * long_tail_tolerance(distance3(stick, target), 0.0, kGoalRadius, stick_margin) +
                        3.0 * long_tail_tolerance(to_target, 0.0, kGoalRadius, thermos_margin);
        return result;
    }

  private:
    // Whether a pad's contacts with the stick carry a force.
    bool presses(int pad) const {
        double force = 0.0;
        for (int i = 0; i < data_->ncon; ++i) {
            const mjContact& contact = data_->contact[i];
            const bool is_ours = (contact.geom[0] == pad && contact.geom[1] == stick_geom_) ||
                                 (contact.geom[0] == stick_geom_ && contact.geom[1] == pad);
            if (is_ours && contact.efc_address >= 0) force += data_->efc_force[contact.efc_address];
        }
        return force > 0.0;
    }

    int stick_geom_, left_pad_geom_, right_pad_geom_;
};

}  // namespace

SawyerTask stick_push_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_stick_obj.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.08, 0.58, 0.000, 0.399, 0.55, 0.1319},
                    .random_high = {-0.03, 0.62, 0.001, 0.401, 0.6, 0.1321},
                    .goal_low = {0.399, 0.55, 0.1319},
                    .goal_high = {0.401, 0.6, 0.1321}};
    return {spec, true, make_sawyer<StickPush>};
}

}  // namespace ibrl::metaworld
