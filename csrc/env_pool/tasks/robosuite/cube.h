// The cube of Lift, whose size robosuite draws with every compiled model: an environment's own part of the model.
#pragma once

#include <mujoco/mujoco.h>

#include <vector>

#include "env_pool/tasks/robosuite/small_matrix.h"

namespace ibrl::robosuite {

class Cube {
  public:
    // Gives two views of one model, which must outlive this, arrays of their own for what a resize changes.
    Cube(mjModel* model, mjModel* unseen);
    Cube(const Cube&) = delete;
    Cube& operator=(const Cube&) = delete;

    // Makes the views what robosuite compiles for a cube of these half sizes, m. Errors: std::invalid_argument.
    void resize(const Vector<3>& half_size);

  private:
    void share_arrays(mjModel* view);

    mjModel* views_[2];
    int body_, dof_;
    std::vector<int> geoms_;
    std::vector<double> geom_size_, geom_aabb_, geom_rbound_, bvh_aabb_;
    std::vector<double> body_mass_, body_inertia_, body_subtreemass_, body_invweight0_;
    std::vector<double> dof_invweight0_, dof_M0_;
};

}  // namespace ibrl::robosuite
