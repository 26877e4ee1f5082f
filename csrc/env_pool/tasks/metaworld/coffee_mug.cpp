// A free mug and a goal for it, with a coffee machine at one of the two. Source: metaworld 3.1.1,
// SawyerCoffeePullEnvV3 and SawyerCoffeePushEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

// Draws are the mug's start 3 and its goal 3.
class CoffeeMug final : public SawyerEnv {
  public:
    struct Parts {
        int spout;                  // where in the draw the place under the machine's spout is
        const char* distance_name;  // the attribute that holds the way from start to goal
    };

    CoffeeMug(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
              const Parts& parts)
        : SawyerEnv(std::move(base), spec, settled),
          parts_(parts),
          mug_(body("obj")),
          machine_(body("coffee_machine")),
          goal_(site("mug_goal")),
          mug_geom_(find_id(model(), mjOBJ_GEOM, "mug")) {}

  protected:
    bool accepts(const double* rv) const override { return start_to_goal(rv) >= 0.15; }

    void edit_model(const double* rv) override {
        const double* mug = rv + parts_.spout;
        target_pos_ = {rv[3], rv[4], rv[5]};
        set_body_pos(machine_, {mug[0], mug[1] + 0.22, mug[2]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        // The published code stops the arm's joints 9..14, not the mug, whose speed it keeps.
        set_positions(0, rv, 3, 9, 6);
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);
        max_distance_ = start_to_goal(rv);
    }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(mug_), 3, frame + 4);
        quaternion_from_matrix(data_->geom_xmat + 9 * mug_geom_, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double* mug = obs + 4;
        Evaluation result;
        result.success = distance3(mug, target_pos_.data()) <= 0.07;
        if (!want_reward) return result;

        // Errors in x and y count twice.
        const double scale[3] = {2.0, 2.0, 1.0};
        const double to_target = scaled_distance3(mug, target_pos_.data(), scale);
        if (to_target < 0.05) {
            result.reward = 10.0;
            return result;
        }
        const double margin = scaled_distance3(obj_init_pos_.data(), target_pos_.data(), scale);
        const double in_place = long_tail_tolerance(to_target, 0.0, 0.05, margin);
        const Scalar grasped = caging_reward(action, mug,
                                             {.obj_radius = 0.02,
                                              .pad_success_thresh = 0.05,
                                              .object_reach_radius = 0.04,
                                              .xz_thresh = 0.05,
                                              .desired_gripper_effort = 0.7,
                                              .medium_density = true});
        result.reward = carry_reward(grasped, in_place, is_at_gripper(obs, mug, 0.04)).value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({parts_.distance_name, &max_distance_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    }

  private:
    const Parts parts_;
    int mug_, machine_, goal_, mug_geom_;
    double max_distance_ = 0.0, obj_init_angle_ = 0.3;
};

// Mug places before and under the machine, as bounds of a draw.
constexpr Vec3 kMugFrontLow = {-0.1, 0.55, -0.001}, kMugFrontHigh = {0.1, 0.65, 0.001};
constexpr Vec3 kMugSpoutLow = {-0.05, 0.7, -0.001}, kMugSpoutHigh = {0.05, 0.75, 0.001};

SawyerSpec coffee_mug_spec(const Vec3& start_low, const Vec3& start_high, const Vec3& goal_low,
                           const Vec3& goal_high) {
    return {.model_path = "sawyer_xyz/sawyer_coffee.xml",
            .hand_init = kNearHandInit,
            .random_low = {start_low[0], start_low[1], start_low[2], goal_low[0], goal_low[1], goal_low[2]},
            .random_high = {start_high[0], start_high[1], start_high[2], goal_high[0], goal_high[1],
                            goal_high[2]},
            .goal_low = goal_low,
            .goal_high = goal_high};
}

}  // namespace

SawyerTasks coffee_mug_tasks() {
    return {
        {.name = "coffee-pull",
         .spec = coffee_mug_spec(kMugSpoutLow, kMugSpoutHigh, kMugFrontLow, kMugFrontHigh),
         .settles_alike = true,
         .make = make_sawyer_from<CoffeeMug>(CoffeeMug::Parts{.spout = 0, .distance_name = "maxPullDist"})},
        {.name = "coffee-push",
         .spec = coffee_mug_spec(kMugFrontLow, kMugFrontHigh, kMugSpoutLow, kMugSpoutHigh),
         .settles_alike = true,
         .make = make_sawyer_from<CoffeeMug>(CoffeeMug::Parts{.spout = 3, .distance_name = "maxPushDist"})},
    };
}

}  // namespace ibrl::metaworld
