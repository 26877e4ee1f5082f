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
constexpr int kStartDim = kArmJoints + 3;

// What a task says of its scene.
struct TaskSpec {
    std::string object;   // its free joint is NAME_joint0, its body NAME_main
    bool relates_object;  // observed: pose in the hand's frame 7, pose 7; else pose 7, from the hand 3
    std::vector<std::string> hidden;  // objects that every reset throws out of the scene
};

class PandaEnv : public Env {
  public:
    // The view and the spec are shared by the environments of a pool, and outlive them.
    PandaEnv(const ModelView& view, const TaskSpec& spec);

    std::vector<VectorInfo> vectors() const override;
    const double* vector(int index) const override;
    int action_dim() const override { return kActionDim; }
    int start_dim() const override { return kStartDim; }
    void reset(bool repeats_start) override;
    void seed(const Pcg64::Words& words) override { rng_.set_words(words); }
    bool accepts_start(const double*) const override { return true; }
    void set_start(const double* start) override;
    bool step(const float* action, bool want_reward, Evaluation* evaluation) override;
    StateEntries get_state() const override;
    void set_state(const StateEntries& entries) override;
    const mjModel* model() const override { return view_.get(); }
    mjData* data() override { return data_.get(); }
    void select_drawn(mjvOption* option) const override { option->geomgroup[0] = 0; }

  protected:
    // ---- what a task says ----
    virtual Placement draw_placement(Pcg64* rng) const = 0;
    virtual double object_height() const = 0;  // of its origin where it is put down, m
    virtual bool is_solved() const = 0;
    virtual double shaped_reward(bool is_solved) const = 0;

    int body(const std::string& name) const { return find_id(model(), mjOBJ_BODY, name); }
    const double* body_position(int id) const { return data_->xpos + 3 * id; }
    const double* site_position(int id) const { return data_->site_xpos + 3 * id; }
    double distance_to_hand(const double* position) const;
    bool holds_any(const std::vector<int>& bodies) const;  // both finger pads touch geoms of these bodies

  private:
    static constexpr int kRobotDim = 9;  // hand position 3, quaternion 4, fingers 2

    void place_scene();
    void observe();
    bool is_stable() const;
    Vector<7> object_pose() const;
    Vector<7> hand_pose() const;

    const ModelView& view_;
    const TaskSpec& spec_;
    DataPtr data_;
    OperationalSpaceController controller_;
    PandaGripper gripper_;
    int hand_body_, object_body_, object_qpos_;
    std::vector<int> hidden_qpos_;
    int pads_[2];

    Pcg64 rng_;
    std::array<double, kStartDim> start_{};  // offsets of joints, rad; x, y, m, and angle, rad, of the object
    std::vector<double> seen_qpos_;          // that the positions of everything in data_ belong to
    Vector<7> object_{}, previous_object_{};  // poses (x, y, z, w) in the last observation and the one before

    std::vector<double> state_;  // robot, then object
    Vector<kArmJoints> joint_position_{}, joint_velocity_{};
};

}  // namespace ibrl::robosuite
