// A puck on a table and a goal: what reaching, pushing and picking share, with and without a wall.
#pragma once

#include <memory>
#include <vector>

#include "env_pool/tasks/metaworld/lift_marks.h"
#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {

// The numbers in which puck tasks differ beyond their spec, metres.
struct PuckTraits {
    bool starts_at_rest_height = false;  // start and goal lie where the puck came to rest, not where drawn
    bool notes_lift = true, notes_lift_threshold = false, notes_push = true, notes_reach = false;  // state
    double lift_threshold = 0.04;
    double min_distance = 0.15;  // between start and goal in x and y
    double success_radius = 0.07;
    double placing_radius = 0.05;
};

class PuckEnv : public SawyerEnv {
  public:
    PuckEnv(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
            const PuckTraits& traits);

  protected:
    bool accepts(const double* rv) const override;
    void edit_model(const double* rv) override;
    void place(const double* rv) override;
    void observe_objects(double* frame) const override;
    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override;
    void list_attributes(std::vector<Attribute>* list) override;

    // Reward while the puck is not yet at the goal; in_place: how near it is, in [0, 1].
    virtual Scalar shape_reward(const double* obs, const float* action, double in_place) const = 0;

    // Sets the puck down and notes the distances to the goal.
    void put_puck(const Vec3& start);

    // Caging in all but the tasks with their own numbers.
    static constexpr Caging puck_caging(bool high_density) {
        return {.obj_radius = 0.015,
                .pad_success_thresh = 0.05,
                .object_reach_radius = 0.01,
                .xz_thresh = 0.005,
                .high_density = high_density};
    }

    // How far the puck has come to a place beside or above the wall, in [0, 1].
    double approach(const double* puck, const double* midpoint, const double (&scale)[3]) const;

    int object_, object_geom_, goal_;
    double max_push_distance_ = 0.0, max_reach_distance_ = 0.0;
    LiftMarks lift_;

  private:
    PuckTraits traits_;
    double rest_height_ = 0.0, obj_init_angle_ = 0.3;
};

// A held puck's reward: to the midpoint beside or above the wall, behind it to the goal.
inline Scalar pass_wall(Scalar reward, const double* puck, double at_midpoint, double in_place) {
    const bool is_past = puck[1] > 0.75;
    return is_past ? reward + 1.0 + 4.0 + 3.0 * in_place : reward + 1.0 + 4.0 * at_midpoint;
}

// A puck on the table, a goal in the air behind it; and the same with a wall between them.
SawyerSpec raised_goal_spec(const char* model_path);
SawyerSpec raised_goal_behind_wall_spec(const char* model_path);

}  // namespace ibrl::metaworld
