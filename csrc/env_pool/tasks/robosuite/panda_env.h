// An episode of a robosuite task: the Panda in its scene, 20 control steps a second, 25 physics steps each. Source:
// robosuite 1.5.2, environments/robot_env.py and robots/robot.py. Tasks derive from PandaEnv.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "env_pool/env.h"
#include "env_pool/mujoco_model.h"
#include "env_pool/tasks/robosuite/osc.h"
#include "env_pool/tasks/robosuite/panda_gripper.h"
#include "env_pool/tasks/robosuite/placement.h"

namespace ibrl::robosuite {

constexpr int kActionDim = 7;
constexpr int kRobotDim = 9;  // hand position 3, quaternion 4, fingers 2
constexpr int kStartDim = kArmJoints + 3;

// What a task says of its scene.
struct TaskSpec {
    std::string object;   // its free joint is NAME_joint0, its body NAME_main
    bool relates_object;  // observed: pose in the hand's frame 7, pose 7; else pose 7, from the hand 3
    std::vector<std::string> hidden;  // objects that every reset throws out of the scene
};

class PandaEnv : public Env {
  public:
    // What the view shows and the spec are shared by the environments of a pool, and outlive them.
    PandaEnv(const ModelView& view, const TaskSpec& spec);

    std::vector<VectorInfo> vectors() const override;
    const double* vector(int) const override { return state_.data(); }  // the robot is its first part
    int action_dim() const override { return kActionDim; }
    int start_dim() const override { return kStartDim; }
    void reset(bool repeats_start) override;
    void seed(const Pcg64::Words& words) override { rng_.set_words(words); }
    bool accepts_start(const double*) const override { return true; }
    void set_start(const double* start) override;
    bool step(const float* action, bool want_reward, Evaluation* evaluation) override;
    StateEntries get_state() const override;
    void set_state(const StateEntries& entries) override;
    const mjModel* model() const override { return &model_; }
    mjData* data() override { return data_.get(); }

  protected:
    // ---- what a task says ----
    virtual Placement draw_placement(Pcg64* rng) const = 0;
    virtual double object_height() const = 0;  // of its origin where it is put down, m
    virtual bool is_solved() const = 0;
    virtual double shaped_reward(bool is_solved) const = 0;

    // The model of an episode, where that is drawn too: values [3] that the state keeps under a name.
    virtual const char* model_entry() const { return nullptr; }
    virtual Vector<3> draw_model(Pcg64*) const { return {}; }
    virtual void set_model(const Vector<3>&) {}

    int body(const std::string& name) const { return find_id(model(), mjOBJ_BODY, name); }
    const double* body_position(int id) const { return data_->xpos + 3 * id; }
    const double* site_position(int id) const { return data_->site_xpos + 3 * id; }
    double distance_to_hand(const double* position) const;
    bool holds_any(const std::vector<int>& bodies) const;  // both finger pads touch geoms of these bodies

    // This environment's views of the shared model: all of it, and what physics needs (ModelView::unseen).
    mjModel model_, unseen_;

  private:
    void begin_episode();
    void place_arm(const Vector<kArmJoints>& posture);
    void observe(bool is_first);
    const double* observed_object() const;  // position, quaternion (x, y, z, w)
    bool is_stable() const;

    const TaskSpec& spec_;
    DataPtr data_;
    OperationalSpaceController controller_;
    PandaGripper gripper_;
    int hand_body_, object_body_, object_qpos_;
    std::vector<int> hidden_qpos_;
    int pads_[2];

    Pcg64 rng_;
    Vector<3> drawn_model_{};
    std::array<double, kStartDim> start_{};  // offsets of joints, rad; x, y, m, and angle, rad, of the object
    std::int64_t control_steps_ = 0;         // of the episode
    std::vector<double> kinematics_qpos_;    // that the positions of everything in data_ belong to
    std::vector<double> state_;              // observed: robot, then object
};

}  // namespace ibrl::robosuite
