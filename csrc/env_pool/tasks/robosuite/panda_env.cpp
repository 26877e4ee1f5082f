#include "env_pool/tasks/robosuite/panda_env.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "env_pool/normal.h"
#include "env_pool/tasks/robosuite/pose.h"

namespace ibrl::robosuite {
namespace {

constexpr int kPhysicsSteps = 25;     // of a control step
constexpr double kStartNoise = 0.02;  // standard deviation of joint angles, rad
constexpr double kPi = 3.141592653589793;
constexpr Vector<kArmJoints> kStartPosture = {0.0, kPi / 16.0, 0.0,      -kPi / 2.0 - kPi / 3.0,
                                              0.0, kPi - 0.2,  kPi / 4.0};
constexpr double kHiddenPose[7] = {10.0, 10.0, 10.0, 1.0, 0.0, 0.0, 0.0};

}  // namespace

PandaEnv::PandaEnv(const ModelView& view, const TaskSpec& spec)
    : model_(*view.get()),
      unseen_(*view.unseen()),
      spec_(spec),
      data_(mj_makeData(&model_)),
      controller_(&model_),
      gripper_(&model_),
      kinematics_qpos_(model_.nq),
      state_(kRobotDim + (spec.relates_object ? 14 : 10)) {
    if (data_ == nullptr) throw std::runtime_error("MuJoCo: could not allocate an environment's data");
    const auto object_qpos = [this](const std::string& name) {
        return model_.jnt_qposadr[find_id(&model_, mjOBJ_JOINT, name + "_joint0")];
    };
    hand_body_ = body("robot0_right_hand");
    object_body_ = body(spec.object + "_main");
    object_qpos_ = object_qpos(spec.object);
    for (const std::string& name : spec.hidden) hidden_qpos_.push_back(object_qpos(name));
    pads_[0] = find_id(&model_, mjOBJ_GEOM, "gripper0_right_finger1_pad_collision");
    pads_[1] = find_id(&model_, mjOBJ_GEOM, "gripper0_right_finger2_pad_collision");
}

// ---- episodes ----

void PandaEnv::reset(bool repeats_start) {
    if (!repeats_start) {
        // In the order in which robosuite draws.
        drawn_model_ = draw_model(&rng_);
        for (int i = 0; i < kArmJoints; ++i) start_[i] = draw_normal(&rng_) * kStartNoise;
        const Placement place = draw_placement(&rng_);
        start_[kArmJoints] = place.x;
        start_[kArmJoints + 1] = place.y;
        start_[kArmJoints + 2] = place.angle;
        set_model(drawn_model_);
    }
    begin_episode();
}

void PandaEnv::set_start(const double* start) {
    std::copy_n(start, kStartDim, start_.begin());
}

void PandaEnv::begin_episode() {
    mjData* d = data_.get();
    Vector<kArmJoints> posture;
    for (int i = 0; i < kArmJoints; ++i) posture[i] = kStartPosture[i] + start_[i];

    // Each of robosuite's two controllers begins with a forward pass, before fingers and objects are in place.
    place_arm(posture);
    mj_forward(model(), d);
    gripper_.place(d);
    gripper_.set_command({0.0, 0.0});
    for (const int qpos : hidden_qpos_) std::copy_n(kHiddenPose, 7, d->qpos + qpos);
    const double half_angle = start_[kArmJoints + 2] / 2.0;
    const double pose[7] = {
        start_[kArmJoints],  start_[kArmJoints + 1], object_height(), std::cos(half_angle), 0.0, 0.0,
        std::sin(half_angle)};
    std::copy_n(pose, 7, d->qpos + object_qpos_);
    mj_forward(model(), d);

    control_steps_ = 0;
    std::copy_n(d->qpos, kinematics_qpos_.size(), kinematics_qpos_.begin());
    observe(true);
}

void PandaEnv::place_arm(const Vector<kArmJoints>& posture) {
    mjData* d = data_.get();
    mj_resetData(model(), d);
    for (int i = 0; i < kArmJoints; ++i) d->qpos[controller_.joint_position(i)] = posture[i];
    mj_forward(model(), d);
    controller_.begin(model(), d);
}

// ---- steps ----

bool PandaEnv::step(const float* action, bool want_reward, Evaluation* evaluation) {
    mjData* d = data_.get();
    for (int i = 0; i < kPhysicsSteps; ++i) {
        const bool is_last = i == kPhysicsSteps - 1;
        const mjModel* m = is_last ? &model_ : &unseen_;
        mj_step1(m, d);
        if (i == 0) {
            controller_.set_goal(m, d, action);
            gripper_.move(action[kActionDim - 1]);
        }
        controller_.apply(m, d);
        gripper_.apply(m, d);
        if (is_last) std::copy_n(d->qpos, kinematics_qpos_.size(), kinematics_qpos_.begin());
        mj_step2(m, d);
    }
    ++control_steps_;

    // A step that went wrong leaves the last good observation in place.
    const auto is_finite = [](double x) { return std::abs(x) <= std::numeric_limits<float>::max(); };
    if (!is_stable() || !std::all_of(d->qpos, d->qpos + model_.nq, is_finite)) return false;
    observe(false);
    evaluation->success = is_solved();
    if (want_reward) evaluation->reward = shaped_reward(evaluation->success);
    return true;
}

bool PandaEnv::is_stable() const {
    for (const mjtWarning kind : {mjWARN_BADQPOS, mjWARN_BADQVEL, mjWARN_BADQACC, mjWARN_BADCTRL}) {
        if (data_->warning[kind].number > 0) return false;
    }
    return true;
}

// ---- observations ----

std::vector<VectorInfo> PandaEnv::vectors() const {
    return {{"state", static_cast<int>(state_.size())}, {"proprio", kRobotDim}};
}

const double* PandaEnv::observed_object() const {
    return state_.data() + kRobotDim + (spec_.relates_object ? 7 : 0);
}

void PandaEnv::observe(bool is_first) {
    Vector<7> previous_object;
    std::copy_n(observed_object(), 7, previous_object.begin());

    // Poses are those before the last physics step's motion, fingers those after it: robosuite looks in between.
    const mjData* d = data_.get();
    const auto write_pose = [d](const double* position, int body, double* out) {
        std::copy_n(position, 3, out);
        std::copy_n(d->xquat + 4 * body + 1, 3, out + 3);
        out[6] = d->xquat[4 * body];
    };
    double* hand = state_.data();
    write_pose(site_position(controller_.hand_site()), hand_body_, hand);
    for (int finger = 0; finger < 2; ++finger) hand[7 + finger] = d->qpos[gripper_.joint_position(finger)];

    // robosuite relates the object's pose of the observation before to the hand; an episode's first has none.
    double* object = state_.data() + kRobotDim;
    if (spec_.relates_object) {
        const Vector<7> related = is_first ? Vector<7>{} : relative_pose(previous_object.data(), hand);
        object = std::copy(related.begin(), related.end(), object);
    }
    write_pose(body_position(object_body_), object_body_, object);
    if (!spec_.relates_object) {
        for (int i = 0; i < 3; ++i) object[7 + i] = object[i] - hand[i];
    }
}

double PandaEnv::distance_to_hand(const double* position) const {
    const double* hand = site_position(controller_.hand_site());
    double squares = 0.0;
    for (int i = 0; i < 3; ++i) squares += (hand[i] - position[i]) * (hand[i] - position[i]);
    return std::sqrt(squares);
}

bool PandaEnv::holds_any(const std::vector<int>& bodies) const {
    bool touches[2] = {false, false};
    for (int i = 0; i < data_->ncon; ++i) {
        for (int side = 0; side < 2; ++side) {
            const int geom = data_->contact[i].geom[side];
            const int other = model_.geom_bodyid[data_->contact[i].geom[1 - side]];
            if (std::find(bodies.begin(), bodies.end(), other) == bodies.end()) continue;
            for (int pad = 0; pad < 2; ++pad) touches[pad] = touches[pad] || geom == pads_[pad];
        }
    }
    return touches[0] && touches[1];
}

}  // namespace ibrl::robosuite
