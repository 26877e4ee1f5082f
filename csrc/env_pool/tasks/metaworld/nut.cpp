// A wrench with a ring at its end and a peg: the ring goes on or comes off.
#include <algorithm>

#include "env_pool/tasks/metaworld/lift_marks.h"
#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

class NutEnv : public SawyerEnv {
  public:
    NutEnv(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          nut_(body("RoundNut")),
          peg_(body("peg")),
          handle_site_(site("RoundNut-8")),
          center_site_(site("RoundNut")),
          top_site_(site("pegTop")) {}

  protected:
    static constexpr double kHandleHalfLength = 0.01;  // m

    bool accepts(const double* rv) const override { return start_to_goal(rv) >= 0.1; }

    void observe_objects(double* frame) const override {
        std::copy_n(site_position(handle_site_), 3, frame + 4);
        std::copy_n(data_->xquat + 4 * nut_, 4, frame + 7);
    }

    // Of the wrench, in [0, 1].
    static double flatness(const double* obs) {
        return orientation_match(obs + 7, {0.707, 0.0, 0.0, 0.707}, 0.4);
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    }

    int nut_, peg_, handle_site_, center_site_, top_site_;

  private:
    double obj_init_angle_ = 0.3;
};

// Put a wrench's ring over a peg. Source: metaworld 3.1.1, SawyerNutAssemblyEnvV3.
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
        const double in_place = lift_reward(lifted, norm3(error), 0.4);

        // Grasping; lying flat scales it all.
        const Scalar grab = handle_reward(action, obs, kHandleHalfLength, false);
        result.reward = ((2.0 * grab + 6.0 * in_place) * flatness(obs)).value;
        return result;
    }
};

// Take a wrench's ring off a peg. Source: metaworld 3.1.1, SawyerNutDisassembleEnvV3.
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
        const double in_place = lift_reward(center[2] > 0.02, distance3(above, center), 0.2);

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

SawyerTasks nut_tasks() {
    return {
        {.name = "assembly",
         .spec = {.model_path = "sawyer_xyz/sawyer_assembly_peg.xml",
                  .hand_init = kHandInitSingle,
                  .random_low = {0.0, 0.6, 0.02, -0.1, 0.75, 0.1},
                  .random_high = {0.0, 0.6, 0.02, 0.1, 0.85, 0.1},
                  .goal_low = {-0.1, 0.75, 0.1},
                  .goal_high = {0.1, 0.85, 0.1}},
         .settles_alike = true,
         .make = make_sawyer<Assembly>},
        {.name = "disassemble",
         .spec = {.model_path = "sawyer_xyz/sawyer_assembly_peg.xml",
                  .hand_init = kNearHandInitSingle,
                  .random_low = {0.0, 0.6, 0.025, -0.1, 0.6, 0.1699},
                  .random_high = {0.1, 0.75, 0.02501, 0.1, 0.75, 0.1701},
                  .goal_low = {-0.1, 0.6, 0.1699 + 0.005},
                  .goal_high = {0.1, 0.75, 0.1701 + 0.005}},
         .settles_alike = false,
         .make = make_sawyer<Disassemble>},
    };
}

}  // namespace ibrl::metaworld
