// The Sawyer arm of Meta-World v3: moved by a mocap body, observed in 39 numbers. Tasks derive from SawyerEnv.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "env_pool/env.h"
#include "env_pool/mujoco_model.h"
#include "env_pool/tasks/metaworld/rewards.h"

namespace ibrl::metaworld {

constexpr int kFrameDim = 18;        // hand 3 (m), gripper opening, object 3 + 4, second object 3 + 4
constexpr int kObservationDim = 39;  // current frame, previous frame, goal 3 (m)
constexpr int kActionDim = 4;        // hand displacement 3 (units of 0.01 m), gripper effort
constexpr int kFrameSkip = 5;
constexpr int kSettlingSteps = 50;
constexpr int kArmJoints = 9;  // where the arm comes first in a model, the scene's joints start here

using Vec3 = std::array<double, 3>;

// Room and start of most tasks' hands, m. Some starts are published as float32.
constexpr Vec3 kHandLow = {-0.5, 0.40, 0.05}, kHandHigh = {0.5, 1.0, 0.5};
constexpr Vec3 kDeepHandLow = {-0.5, 0.40, -0.15};
constexpr Vec3 kHandInit = {0.0, 0.6, 0.2}, kHandInitSingle = {0.0, 0.6f, 0.2f};
constexpr Vec3 kNearHandInit = {0.0, 0.4, 0.2}, kNearHandInitSingle = {0.0, 0.4f, 0.2f};

// The numbers in which tasks differ, metres; the defaults are those of most.
struct SawyerSpec {
    std::string model_path;  // inside the suite's assets
    Vec3 hand_low = kHandLow, hand_high = kHandHigh;
    Vec3 hand_init = kHandInit;
    std::vector<double> random_low, random_high;  // the random vector of a reset: usually start 3, goal 3
    Vec3 goal_low, goal_high;
};

// Hand settled over an untouched scene, one physics step before the end: the same at every reset of tasks
// whose edited bodies push nothing. That last step, taken with the edited model, then finds every position.
struct Settled {
    std::vector<double> physics;  // mjSTATE_INTEGRATION
};

// A task attribute that belongs to the state: name as published, value(s) in place.
struct Attribute {
    std::string name;
    double* values;
    int size;
    bool is_scalar = false;
};

class SawyerEnv : public Env {
  public:
    SawyerEnv(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled);

    int observation_dim() const override { return kObservationDim; }
    int action_dim() const override { return kActionDim; }
    int rand_vec_dim() const override { return static_cast<int>(spec_.random_low.size()); }
    void reset(bool frozen) override;
    void seed(const Pcg64::Words& words) override { rng_.set_words(words); }
    bool accepts_rand_vec(const double* rand_vec) const override { return accepts(rand_vec); }
    void set_rand_vec(const double* rand_vec) override;
    bool step(const float* action, bool want_reward, Evaluation* evaluation) override;
    const double* observation() const override { return observation_.data(); }
    StateEntries get_state() const override;
    void set_state(const StateEntries& entries) override;
    const mjModel* model() const override { return view_.get(); }
    mjData* data() override { return data_.get(); }

    bool plan_reset(bool frozen) override;
    bool prepare_reset() override;

    // Moves the hand to its start over the model's default scene.
    Settled settle_default_scene();

    // Another environment of the same task, which settles the next scene for this one and does nothing else.
    void set_twin(std::unique_ptr<SawyerEnv> twin) { twin_ = std::move(twin); }

  protected:
    // ---- what a task says ----
    virtual bool accepts(const double* rand_vec) const = 0;
    virtual void edit_model(const double* rand_vec) = 0;    // bodies and sites that the draw moves
    virtual void place(const double* rand_vec) = 0;         // objects and goal, after the hand has settled
    virtual void observe_objects(double* frame) const = 0;  // fills frame[4..17], zero before
    virtual Evaluation evaluate(const double* obs, const float* action, bool want_reward) const = 0;
    virtual void list_attributes(std::vector<Attribute>* list) = 0;  // task state beyond the common part

    // What few tasks say otherwise: the goal, m (those that watch a moving place keep no target_pos_), and
    // where the object that the gripper cages has started.
    virtual const double* goal_position() const { return target_pos_.data(); }
    virtual const Vec3& cage_start() const { return obj_init_pos_; }

    // ---- what tasks use ----
    int body(const char* name) const { return find_id(model(), mjOBJ_BODY, name); }
    int site(const char* name) const { return find_id(model(), mjOBJ_SITE, name); }
    const double* body_position(int id) const { return data_->xpos + 3 * id; }
    const double* site_position(int id) const { return data_->site_xpos + 3 * id; }
    void set_positions(int qpos_start, const double* values, int count, int qvel_start, int qvel_count);
    void set_body_pos(int id, const Vec3& position);
    void set_site_pos(int id, const Vec3& position);
    Vec3 tcp_center() const;
    void substeps(int count);
    void forward();
    void compute_frame(double* frame) const;     // [kFrameDim] from the positions that the last pass found
    int joint_position(const char* name) const;  // index into qpos

    struct Caging {
        double obj_radius, pad_success_thresh, object_reach_radius, xz_thresh;
        double desired_gripper_effort = 1.0;
        bool high_density = false, medium_density = false;
    };
    // How far the action closes the gripper, in [0, 1]: a float32 until it is cut off.
    static Scalar closing_effort(const float* action, double desired = 1.0);

    // Reward for closing the gripper around an object at obj_pos (m).
    Scalar caging_reward(const float* action, const double* obj_pos, const Caging& caging) const;

    // The same for the first object's handle along x, of which any part is as good.
    Scalar handle_reward(const float* action, const double* obs, double half_length, bool high_density) const;

    // Whether an object (m) is within radius of the gripper's centre and the gripper not shut.
    bool is_at_gripper(const double* obs, const double* object, double radius) const;

    // Reward for an object between the pads, however the gripper is driven: some tasks' own caging. Fingers
    // that are up to grip_slack (m) wider than the object hold it.
    double pinch_reward(const double* obj_pos, double obj_radius, double grip_slack, double xz_thresh) const;
    Scalar pads_around(const double* obj_pos, double nearest, double farthest) const;  // in y, [0, 1]
    Scalar tcp_over(const double* obj_pos, double xz_thresh) const;                    // in x and z, [0, 1]

    const SawyerSpec& spec_;
    ModelView view_;
    DataPtr data_;
    int left_pad_, right_pad_;
    Vec3 init_tcp_{};
    Vec3 target_pos_{};
    Vec3 obj_init_pos_{};
    bool start_is_kept_ = true;  // false where the published obj_init_pos is a window on a body that moves

  private:
    void draw();
    void settle();
    void begin_settling();
    bool settle_some();
    bool is_drawable() const;  // given random vectors may lie outside the task's distribution
    void first_substep();
    void unseen_substeps(int count);
    void list_all_attributes(std::vector<Attribute>* list) const;

    const Settled* settled_;
    Pcg64 rng_;
    std::vector<double> rand_vec_;
    std::array<double, kObservationDim> observation_{};
    std::array<double, kFrameDim> previous_frame_{};
    std::int64_t path_length_ = 0;
    bool derived_is_current_ =
        false;                // contacts, inertias and velocities in data_ belong to its qpos and qvel
    int settling_step_ = -1;  // control steps that the hand has settled for; -1: not begun
    std::unique_ptr<SawyerEnv> twin_;
    std::mutex twin_mutex_;
    bool twin_is_planned_ = false;  // somebody calls prepare_reset
    int mocap_body_, hand_, right_claw_, left_claw_, left_tip_, right_tip_;
};

// Quaternion (x, y, z, w) of a rotation matrix [9], by SciPy's choice of the largest component.
void quaternion_from_matrix(const double* matrix, double* quaternion);

}  // namespace ibrl::metaworld
