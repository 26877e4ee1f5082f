// The Sawyer arm of Meta-World v3 in its scene: moved by a mocap body, stepped without what nobody reads.
#pragma once

#include <memory>
#include <vector>

#include "env_pool/env.h"
#include "env_pool/mujoco_model.h"
#include "env_pool/tasks/metaworld/sawyer_spec.h"

namespace ibrl::metaworld {

// Hand settled over an untouched scene, one physics step before the end: the same at every reset of tasks
// whose edited bodies push nothing. That last step, taken with the edited model, then finds every position.
struct Settled {
    std::vector<double> physics;  // mjSTATE_INTEGRATION
};

class SawyerArm : public Env {
  public:
    SawyerArm(std::shared_ptr<const mjModel> base, const SawyerSpec& spec);

    int action_dim() const override { return kActionDim; }
    const mjModel* model() const override { return view_.get(); }
    mjData* data() override { return data_.get(); }

    // Moves the hand to its start over the model's default scene.
    Settled settle_default_scene();

  protected:
    int body(const char* name) const { return find_id(model(), mjOBJ_BODY, name); }
    int site(const char* name) const { return find_id(model(), mjOBJ_SITE, name); }
    int joint_position(const char* name) const;  // index into qpos
    const double* body_position(int id) const { return data_->xpos + 3 * id; }
    const double* site_position(int id) const { return data_->site_xpos + 3 * id; }
    void set_positions(int qpos_start, const double* values, int count, int qvel_start, int qvel_count);
    void set_body_pos(int id, const Vec3& position);
    void set_site_pos(int id, const Vec3& position);
    Vec3 tcp_center() const;

    // One control step with an action [kActionDim]: the hand's target moves, then physics.
    void move(const float* action);
    bool is_stable() const;  // since the last mj_resetData

    void substeps(int count);
    void forward();
    void copy_physics(const mjData* from);
    void restore_settled(const Settled& settled);  // and takes its last physics step

    // Moving the hand to its start: kSettlingSteps control steps from the model's default scene.
    void begin_settling();
    bool settle_some();  // one step; false where the hand has settled

    const SawyerSpec& spec_;
    ModelView view_;
    DataPtr data_;
    int settling_step_ = -1;  // control steps that the hand has settled for; -1: not begun
    int hand_, right_claw_, left_claw_, left_pad_, right_pad_;

  private:
    void unseen_substeps(int count);
    void first_substep();

    bool derived_is_current_ =
        false;  // contacts, inertias and velocities in data_ belong to its qpos and qvel
    int mocap_body_, left_tip_, right_tip_;
};

// Quaternion (x, y, z, w) of a rotation matrix [9], by SciPy's choice of the largest component.
void quaternion_from_matrix(const double* matrix, double* quaternion);

}  // namespace ibrl::metaworld
