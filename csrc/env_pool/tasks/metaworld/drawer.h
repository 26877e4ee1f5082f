// A drawer in a case that a draw moves: what opening and closing it share.
#pragma once

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {

class Drawer : public SawyerEnv {
  public:
    static SawyerSpec make_spec();

  protected:
    // The way of the drawer, and how far out it is at the goal, m.
    Drawer(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled, double way,
           double goal_opening);

    bool accepts(const double*) const override { return true; }
    void edit_model(const double* rv) override;
    void observe_objects(double* frame) const override;
    void list_attributes(std::vector<Attribute>* list) override;

    const int link_;

  private:
    int drawer_, goal_;
    double goal_offset_, max_distance_, target_reward_, obj_init_angle_ = 0.3;
};

}  // namespace ibrl::metaworld
