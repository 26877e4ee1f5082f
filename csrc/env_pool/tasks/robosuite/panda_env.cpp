#include "env_pool/tasks/robosuite/panda_env.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

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
    : view_(view),
      spec_(spec),
      data_(mj_makeData(view.get())),
      controller_(view.get()),
      gripper_(view.get()),
      seen_qpos_(view.get()->nq) {
    if (data_ == nullptr) throw std::runtime_error("MuJoCo: could not allocate an environment's data");
    const auto object_qpos = [this](const std::string& name) {
        return model()->jnt_qposadr[find_id(model(), mjOBJ_JOINT, name + "_joint0")];
    };
    hand_body_ = body("robot0_right_hand");
    object_body_ = body(spec.object + "_main");
    object_qpos_ = object_qpos(spec.object);
    for (const std::string& name : spec.hidden) hidden_qpos_.push_back(object_qpos(name));
    pads_[0] = find_id(model(), mjOBJ_GEOM, "gripper0_right_finger1_pad_collision");
    pads_[1] = find_id(model(), mjOBJ_GEOM, "gripper0_right_finger2_pad_collision");
    state_.resize(kRobotDim + (spec.relates_object ? 14 : 10));
}

// ---- episodes ----

void PandaEnv::reset(bool repeats_start) {
    if (!repeats_start) {
        for (int i = 0; i < kArmJoints; ++i) start_[i] = draw_normal(&rng_) * kStartNoise;
        const Placement place = draw_placement(&rng_);
        start_[kArmJoints] = place.x;
        start_[kArmJoints + 1] = place.y;
        start_[kArmJoints + 2] = place.angle;
    }
    place_scene();
    std::copy_n(data_->qpos, seen_qpos_.size(), seen_qpos_.begin());
    object_.fill(0.0);
    observe();
}

void PandaEnv::set_start(const double* start) {
    std::copy_n(start, kStartDim, start_.begin());
}

void PandaEnv::place_scene() {
    mjData* d = data_.get();
    mj_resetData(model(), d);
    Vector<kArmJoints> posture;
    for (int i = 0; i < kArmJoints; ++i) {
        posture[i] = kStartPosture[i] + start_[i];
        d->qpos[controller_.joint_position(i)] = posture[i];
    }
    controller_.set_posture(posture);

    // Each of robosuite's two controllers begins with a forward pass, which warms the next one's solver.
    mj_forward(model(), d);
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
}

// ---- steps ----

bool PandaEnv::step(const float* action, bool want_reward, Evaluation* evaluation) {
    mjData* d = data_.get();
    for (int i = 0; i < kPhysicsSteps; ++i) {
        const bool is_last = i == kPhysicsSteps - 1;
        const mjModel* m = is_last ? model() : view_.unseen();
        mj_step1(m, d);
        if (i == 0) {
            controller_.set_goal(d, action);
            gripper_.move(action[kActionDim - 1]);
        }
        controller_.apply(m, d);
        gripper_.apply(m, d);
        if (is_last) std::copy_n(d->qpos, seen_qpos_.size(), seen_qpos_.begin());
        mj_step2(m, d);
    }

    // A step that went wrong leaves the last good observation in place.
    const auto is_finite = [](double x) { return std::abs(x) <= std::numeric_limits<float>::max(); };
    if (!is_stable() || !std::all_of(d->qpos, d->qpos + model()->nq, is_finite)) return false;
    observe();
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
    const int object_dim = static_cast<int>(state_.size()) - kRobotDim;
    return {{"state", static_cast<int>(state_.size())},
            {"proprio", kRobotDim},
            {"robot0_eef_pos", 3},
            {"robot0_eef_quat", 4},
            {"robot0_gripper_qpos", 2},
            {"object", object_dim},
            {"robot0_joint_pos", kArmJoints},
            {"robot0_joint_vel", kArmJoints}};
}

const double* PandaEnv::vector(int index) const {
    const double* state = state_.data();
    const double* vectors[] = {state,
                               state,
                               state,
                               state + 3,
                               state + 7,
                               state + kRobotDim,
                               joint_position_.data(),
                               joint_velocity_.data()};
    return vectors[index];
}

void PandaEnv::observe() {
    // Poses are those before the last physics step's motion, joints those after it: robosuite looks in between.
    const Vector<7> hand = hand_pose();
    double* out = std::copy(hand.begin(), hand.end(), state_.data());
    for (int finger = 0; finger < 2; ++finger) *out++ = data_->qpos[gripper_.joint_position(finger)];
    for (int i = 0; i < kArmJoints; ++i) {
        joint_position_[i] = data_->qpos[controller_.joint_position(i)];
        joint_velocity_[i] = data_->qvel[controller_.joint_velocity(i)];
    }

    // robosuite relates the object's pose of the observation before to the hand; an episode's first has none.
    previous_object_ = object_;
    object_ = object_pose();
    if (spec_.relates_object) {
        const bool has_previous = previous_object_ != Vector<7>{};
        const Vector<7> related =
            has_previous ? relative_pose(previous_object_.data(), hand.data()) : Vector<7>{};
        out = std::copy(related.begin(), related.end(), out);
    }
    out = std::copy(object_.begin(), object_.end(), out);
    if (!spec_.relates_object) {
        for (int i = 0; i < 3; ++i) *out++ = object_[i] - hand[i];
    }
}

Vector<7> PandaEnv::hand_pose() const {
    const double* position = site_position(controller_.hand_site());
    const double* q = data_->xquat + 4 * hand_body_;
    return {position[0], position[1], position[2], q[1], q[2], q[3], q[0]};
}

Vector<7> PandaEnv::object_pose() const {
    const double* position = body_position(object_body_);
    const double* q = data_->xquat + 4 * object_body_;
    return {position[0], position[1], position[2], q[1], q[2], q[3], q[0]};
}

double PandaEnv::distance_to_hand(const double* position) const {
    const double* hand = site_position(controller_.hand_site());
    return std::sqrt((hand[0] - position[0]) * (hand[0] - position[0]) +
                     (hand[1] - position[1]) * (hand[1] - position[1]) +
                     (hand[2] - position[2]) * (hand[2] - position[2]));
}

bool PandaEnv::holds_any(const std::vector<int>& bodies) const {
    bool touches[2] = {false, false};
    for (int i = 0; i < data_->ncon; ++i) {
        for (int side = 0; side < 2; ++side) {
            const int geom = data_->contact[i].geom[side], other = data_->contact[i].geom[1 - side];
            const int owner = model()->geom_bodyid[other];
            if (std::find(bodies.begin(), bodies.end(), owner) == bodies.end()) continue;
            for (int pad = 0; pad < 2; ++pad) touches[pad] = touches[pad] || geom == pads_[pad];
        }
    }
    return touches[0] && touches[1];
}

// ---- state ----

StateEntries PandaEnv::get_state() const {
    using Kind = StateEntry::Kind;
    std::vector<double> physics(mj_stateSize(model(), mjSTATE_INTEGRATION));
    mj_getState(model(), data_.get(), physics.data(), mjSTATE_INTEGRATION);
    const auto words = rng_.words();

    StateEntries entries;
    const auto add = [&entries](const char* name, const auto& values) {
        entries.push_back({name,
                           Kind::float64,
                           {static_cast<std::ptrdiff_t>(values.size())},
                           {values.begin(), values.end()},
                           {}});
    };
    add("physics", physics);
    entries.push_back({"rng", Kind::uint64, {words.size()}, {}, {words.begin(), words.end()}});
    add("rand_vec", start_);
    add("initial_joint", controller_.posture());
    add("gripper_action", gripper_.command());
    add("seen_qpos", seen_qpos_);
    add("previous_object", previous_object_);
    return entries;
}

void PandaEnv::set_state(const StateEntries& entries) {
    const auto find = [&entries](const std::string& name) -> const StateEntry& {
        for (const StateEntry& entry : entries) {
            if (entry.name == name) return entry;
        }
        throw std::invalid_argument("state: expected an entry '" + name + "', found none");
    };
    const auto read = [&find](const std::string& name, auto* values) {
        std::copy_n(find(name).values.begin(), values->size(), values->begin());
    };
    Pcg64::Words words;
    std::copy_n(find("rng").words.begin(), words.size(), words.begin());
    rng_.set_words(words);
    read("rand_vec", &start_);
    Vector<kArmJoints> posture;
    read("initial_joint", &posture);
    controller_.set_posture(posture);
    Vector<2> command;
    read("gripper_action", &command);
    gripper_.set_command(command);
    read("seen_qpos", &seen_qpos_);
    read("previous_object", &object_);

    // Positions of everything are those that were seen; the next step computes its own from the state.
    mjData* d = data_.get();
    mj_resetData(model(), d);
    std::copy(seen_qpos_.begin(), seen_qpos_.end(), d->qpos);
    mj_forward(model(), d);
    mj_setState(model(), d, find("physics").values.data(), mjSTATE_INTEGRATION);
    for (mjWarningStat& warning : d->warning) warning.number = 0;
    observe();
}

}  // namespace ibrl::robosuite
