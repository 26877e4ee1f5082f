// Drive a nail in. Source: metaworld 3.1.1, SawyerHammerEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

class Hammer final : public SawyerEnv {
  public:
    Hammer(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          hammer_(body("hammer")),
          nail_(body("nail_link")),
          goal_(site("goal")),
          nail_head_(site("nailHead")),
          nail_slide_(joint_position("NailSlideJoint")) {}

  protected:
    bool accepts(const double*) const override { return true; }

    // Nothing moves but the hammer.
    void edit_model(const double*) override {}

    void place(const double* rv) override {
        std::copy_n(site_position(goal_), 3, target_pos_.begin());
        std::copy_n(site_position(nail_head_), 3, nail_init_pos_.begin());
        hammer_init_pos_ = obj_init_pos_ = {rv[0], rv[1], rv[2]};
        set_positions(kArmJoints, rv, 3, kArmJoints, 6);

        height_target_ = body_position(hammer_)[2] + lift_threshold_;
        const double lifted[3] = {rv[0], rv[1], height_target_};
        max_hammer_distance_ =
            distance3(lifted, rv) + height_target_ + std::abs(obj_init_pos_[1] - target_pos_[1]);
    }

    void observe_objects(double* frame) const override {
        const int bodies[2] = {hammer_, nail_};
        for (int i = 0; i < 2; ++i) {
            std::copy_n(body_position(bodies[i]), 3, frame + 4 + 7 * i);
            std::copy_n(data_->xquat + 4 * bodies[i], 4, frame + 7 + 7 * i);
        }
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        Evaluation result;
        result.success = data_->qpos[nail_slide_] > 0.09;
        if (!want_reward) return result;

        // The head on the nail, plus a little for lifting at all.
        const double head[3] = {obs[4] + 0.16, obs[5] + 0.06, obs[6]};
        const double distance = distance3(target_pos_.data(), head);
        const double in_place = lift_reward(head[2] > 0.02, distance, 0.2);

        // Grasping; lying straight scales it all.
        const Scalar grab = handle_reward(action, obs, 0.14 / 2.0, true);
        const double straightness = orientation_match(obs + 7, {1.0, 0.0, 0.0, 0.0}, 0.4);
        result.reward = ((2.0 * grab + 6.0 * in_place) * straightness).value;
        if (result.success && result.reward > 5.0) result.reward = 10.0;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"hammer_init_pos", hammer_init_pos_.data(), 3});
        list->push_back({"heightTarget", &height_target_, 1, true});
        list->push_back({"liftThresh", &lift_threshold_, 1, true});
        list->push_back({"maxHammerDist", &max_hammer_distance_, 1, true});
        list->push_back({"nail_init_pos", nail_init_pos_.data(), 3});
        list->push_back({"pickCompleted", &pick_completed_, 1, true});
    }

  private:
    int hammer_, nail_, goal_, nail_head_, nail_slide_;
    Vec3 hammer_init_pos_{}, nail_init_pos_{};
    double height_target_ = 0.0, lift_threshold_ = 0.09, max_hammer_distance_ = 0.0, pick_completed_ = 0.0;
};

}  // namespace

SawyerTasks hammer_tasks() {
    return {
        {.name = "hammer",
         .spec = {.model_path = "sawyer_xyz/sawyer_hammer.xml",
                  .hand_init = kNearHandInit,
                  .random_low = {-0.1, 0.4, 0.0},
                  .random_high = {0.1, 0.5, 0.0},
                  .goal_low = {0.2399, 0.7399, 0.109},
                  .goal_high = {0.2401, 0.7401, 0.111}},
         .settles_alike = true,
         .make = make_sawyer<Hammer>},
    };
}

}  // namespace ibrl::metaworld
