// Lift a lever until it stands upright. Source: metaworld 3.1.1, SawyerLeverPullEnvV3.
#include <algorithm>
#include <numbers>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

constexpr double kLeverLength = 0.2;  // m

class LeverPull final : public SawyerEnv {
  public:
    LeverPull(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          lever_(body("lever")),
          end_(site("leverStart")),
          end_geom_(find_id(model(), mjOBJ_GEOM, "objGeom")),
          goal_(site("goal")),
          hinge_(joint_position("LeverAxis")) {}

  protected:
    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[0] + 0.12, rv[1] + 0.0, rv[2] + (0.25 + kLeverLength)};
        set_body_pos(lever_, {rv[0], rv[1], rv[2]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        // Without a forward pass: the first observation shows the lever where it has settled.
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        lever_init_pos_ = {rv[0] + 0.12, rv[1] + -kLeverLength, rv[2] + 0.25};
        edit_model(rv);
        max_pull_distance_ = distance3(target_pos_.data(), obj_init_pos_.data());
    }

    void observe_objects(double* frame) const override {
        std::copy_n(site_position(end_), 3, frame + 4);
        quaternion_from_matrix(data_->geom_xmat + 9 * end_geom_, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        // The hinge turns backwards, a quarter turn to upright.
        Evaluation result;
        result.success = std::abs(-data_->qpos[hinge_] - std::numbers::pi / 2.0) <= std::numbers::pi / 24;
        if (!want_reward) return result;

        // The wrist, not the fingers, goes under the lever's end; errors in x and z count four times.
        const double* end = obs + 4;
        const double ready = long_tail_tolerance(wrist_distance(obs, end), 0.0, 0.02,
                                                 wrist_distance(init_tcp_.data(), lever_init_pos_.data()));
        const double in_place = long_tail_tolerance(distance3(end, target_pos_.data()), 0.0, 0.04,
                                                    distance3(lever_init_pos_.data(), target_pos_.data()));
        result.reward = 10.0 * hamacher_product(ready, in_place).value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"_lever_pos_init", lever_init_pos_.data(), 3});
        list->push_back({"maxPullDist", &max_pull_distance_, 1, true});
    }

  private:
    static double wrist_distance(const double* hand, const double* end) {
        const double wrist[3] = {hand[0], hand[1] + 0.055, hand[2] + 0.07};
        return scaled_distance3(wrist, end, {4.0, 1.0, 4.0});
    }

    int lever_, end_, end_geom_, goal_, hinge_;
    Vec3 lever_init_pos_{};
    double max_pull_distance_ = 0.0;
};

}  // namespace

SawyerTasks lever_pull_tasks() {
    return {
        {.name = "lever-pull",
         .spec = {.model_path = "sawyer_xyz/sawyer_lever_pull.xml",
                  .hand_low = kDeepHandLow,
                  .hand_init = kNearHandInitSingle,
                  .random_low = {-0.1, 0.7, 0.0},
                  .random_high = {0.1, 0.8, 0.0},
                  .goal_low = kDeepHandLow,
                  .goal_high = kHandHigh},
         .settles_alike = false,
         .make = make_sawyer<LeverPull>},
    };
}

}  // namespace ibrl::metaworld
