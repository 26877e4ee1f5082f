// Take a wrench's ring off a peg. Source: metaworld 3.1.1, SawyerNutDisassembleEnvV3.
#include "env_pool/tasks/metaworld/lift_marks.h"
#include "env_pool/tasks/metaworld/nut_env.h"

namespace ibrl::metaworld {
namespace {

class Disassemble final : public NutEnv {
  public:
    using NutEnv::NutEnv;

  protected:
    // The peg stands in the ring wherever the wrench starts; the goal is above it.
    void edit_model(const double* rv) override {
        target_pos_ = {rv[0], rv[1], rv[2] + 0.15};
        set_body_pos(peg_, {rv[0], rv[1], rv[2] + 0.03});
        set_site_pos(top_site_, {rv[0], rv[1], rv[2] + 0.08});
    }

    void place(const double* rv) override {
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);
        forward();
        set_positions(kArmJoints, rv, 3, kArmJoints, 6);
        lift_.note(body_position(nut_)[2], obj_init_pos_, target_pos_.data());
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        Evaluation result;
        result.success = obs[6] > target_pos_[2];
        if (!want_reward) return result;
        if (result.success) {
            result.reward = 10.0;
            return result;
        }

        // The ring's centre to a place above the goal, plus a little for lifting at all.
        const double* center = site_position(center_site_);
        const double above[3] = {target_pos_[0], target_pos_[1], target_pos_[2] + 0.1};
        const double in_place =
            0.1 * (center[2] > 0.02) + 0.9 * long_tail_tolerance(distance3(above, center), 0.0, 0.02, 0.2);

        // Grasping; lying flat scales it all.
        const Scalar grab = handle_reward(action, obs, kHandleHalfLength, true);
        result.reward = ((2.0 * grab + 6.0 * in_place) * flatness(obs)).value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        NutEnv::list_attributes(list);
        lift_.list_all(list);
        list->push_back({"pickCompleted", &pick_completed_, 1, true});
    }

  private:
    LiftMarks lift_{.threshold = 0.05};
    double pick_completed_ = 0.0;
};

}  // namespace

SawyerTask disassemble_task() {
    const double hand_height = 0.2f, hand_y = 0.4f;  // published as float32
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_assembly_peg.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, hand_y, hand_height},
                    .random_low = {0.0, 0.6, 0.025, -0.1, 0.6, 0.1699},
                    .random_high = {0.1, 0.75, 0.02501, 0.1, 0.75, 0.1701},
                    .goal_low = {-0.1, 0.6, 0.1699 + 0.005},
                    .goal_high = {0.1, 0.75, 0.1701 + 0.005}};
    return {spec, false, make_sawyer<Disassemble>};
}

}  // namespace ibrl::metaworld
