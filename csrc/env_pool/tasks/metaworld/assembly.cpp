// Put a wrench's ring over a peg. Source: metaworld 3.1.1, SawyerNutAssemblyEnvV3.
#include "env_pool/tasks/metaworld/nut_env.h"

namespace ibrl::metaworld {
namespace {

class Assembly final : public NutEnv {
  public:
    using NutEnv::NutEnv;

  protected:
    void edit_model(const double* rv) override {
        target_pos_ = {rv[3], rv[4], rv[5]};
        set_body_pos(peg_, {rv[3], rv[4], rv[5] - 0.05});
        set_site_pos(top_site_, target_pos_);
    }

    void place(const double* rv) override {
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        set_positions(kArmJoints, rv, 3, kArmJoints, 6);
        edit_model(rv);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        // Success: the ring's centre is within 2 cm of the peg's axis and below its top.
        const double* center = site_position(center_site_);
        double error[3] = {target_pos_[0] - center[0], target_pos_[1] - center[1],
                           target_pos_[2] - center[2]};
        const double radius = norm2(error[0], error[1]);
        Evaluation result;
        result.success = radius < 0.02 && error[2] > 0.0;
        if (!want_reward) return result;
        if (result.success) {
            result.reward = 10.0;
            return result;
        }

        // Placing: a funnel over the peg, plus a little for lifting at all.
        const double throat = 0.01;
        error[2] = (funnel_height(radius, throat, 0.02, 0.2) - center[2]) * 3.0;
        const bool lifted = center[2] > 0.02 || radius < throat;
        const double in_place = 0.1 * lifted + 0.9 * long_tail_tolerance(norm3(error), 0.0, 0.02, 0.4);

        // Grasping; lying flat scales it all.
        const Scalar grab = handle_reward(action, obs, kHandleHalfLength, false);
        result.reward = ((2.0 * grab + 6.0 * in_place) * flatness(obs)).value;
        return result;
    }
};

}  // namespace

SawyerTask assembly_task() {
    const double hand_height = 0.2f, hand_y = 0.6f;  // published as float32
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_assembly_peg.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, hand_y, hand_height},
                    .random_low = {0.0, 0.6, 0.02, -0.1, 0.75, 0.1},
                    .random_high = {0.0, 0.6, 0.02, 0.1, 0.85, 0.1},
                    .goal_low = {-0.1, 0.75, 0.1},
                    .goal_high = {0.1, 0.85, 0.1}};
    return {spec, true, make_sawyer<Assembly>};
}

}  // namespace ibrl::metaworld
