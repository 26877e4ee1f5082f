// A plate on two slides that is moved into a goal, or out of one: what the four plate tasks share.
#pragma once

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {

class SlidingPlate : public SawyerEnv {
  public:
    enum class Cage { stays, at_target, at_start };  // where a reset puts the goal's walls

    struct Parts {
        std::array<double, 2> start;  // of the slides, m
        Cage cage = Cage::stays;
        bool is_measured_at_plate = false;  // whether the way to the goal starts at the plate, or at the draw
        bool is_held_down = true;           // whether moving the plate pays only under a low hand
    };

    // Hand and workspace, alike in all four; models and draws differ.
    static SawyerSpec make_spec(const char* model_path, const Vec3& start, const Vec3& goal_low,
                                const Vec3& goal_high);

    SlidingPlate(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
                 const Parts& parts);

  protected:
    bool accepts(const double*) const override { return true; }
    void edit_model(const double* rv) override;
    void place(const double* rv) override;
    void observe_objects(double* frame) const override;
    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override;
    void list_attributes(std::vector<Attribute>* list) override;

  private:
    Parts parts_;
    int plate_, cage_, goal_;
    double max_distance_ = 0.0, obj_init_angle_ = 0.3;
};

}  // namespace ibrl::metaworld
