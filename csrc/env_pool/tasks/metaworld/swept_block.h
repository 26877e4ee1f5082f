// A block that is swept over the table between the fingers: what sweep and sweep-into share.
#pragma once

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {

class SweptBlock : public SawyerEnv {
  public:
    SweptBlock(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled);

  protected:
    // Where a block that is at `block` (m) shall go.
    virtual Vec3 goal_for(const double* block) const = 0;
    virtual double grasp_reward(const double* block) const = 0;

    void edit_model(const double*) override { set_site_pos(goal_, target_pos_); }
    void observe_objects(double* frame) const override;
    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override;
    void list_attributes(std::vector<Attribute>* list) override;

    // Sets the block down, at rest, for a goal that is known.
    void put_block(double x, double y, double z);

    static constexpr double kBlockRadius = 0.02;  // m
    int block_, block_geom_;
    double object_height_ = 0.0;

  private:
    int goal_;
    double max_push_distance_ = 0.0, obj_init_angle_ = 0.3;
};

}  // namespace ibrl::metaworld
