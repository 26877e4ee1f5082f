#include "env_pool/tasks/metaworld/sawyer_env.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

namespace ibrl::metaworld {
namespace {

// Bounds to which the published step() clips the hand and the gripper of both frames.
constexpr double kFrameLow[4] = {-0.525, 0.348, -0.0525, -1.0};
constexpr double kFrameHigh[4] = {0.525, 1.025, 0.7, 1.0};
constexpr double kHandQuaternion[4] = {1.0, 0.0, 1.0, 0.0};
constexpr double kPadReach = 0.05;     // between a pad and the object that it cages, m
constexpr float kActionScale = 0.01f;  // m per unit of action and simulation step

double clip(double x, double low, double high) {
    return std::min(std::max(x, low), high);
}

// Counted since the last mj_resetData.
bool is_unstable(const mjData* data) {
    return data->warning[mjWARN_BADQPOS].number > 0 || data->warning[mjWARN_BADQVEL].number > 0 ||
           data->warning[mjWARN_BADQACC].number > 0 || data->warning[mjWARN_BADCTRL].number > 0;
}

}  // namespace

SawyerEnv::SawyerEnv(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
    : spec_(spec),
      view_(std::move(base)),
      data_(mj_makeData(view_.get())),
      settled_(settled),
      rand_vec_(spec.random_low.size()) {
    if (data_ == nullptr) throw std::runtime_error("MuJoCo: could not allocate an environment's data");
    mocap_body_ = body("mocap");
    hand_ = body("hand");
    right_claw_ = body("rightclaw");
    left_claw_ = body("leftclaw");
    left_pad_ = body("leftpad");
    right_pad_ = body("rightpad");
    left_tip_ = site("leftEndEffector");
    right_tip_ = site("rightEndEffector");
}

// ---- episodes ----

void SawyerEnv::reset(bool frozen) {
    // The published reset runs the task's reset twice; of the first, only the model edits of its draw survive.
    if (!frozen) draw();
    edit_model(rand_vec_.data());
    settle();
    if (!frozen) draw();
    place(rand_vec_.data());

    // The first frame is its own predecessor.
    compute_frame(observation_.data());
    std::copy_n(observation_.begin(), kFrameDim, previous_frame_.begin());
    std::copy_n(observation_.begin(), kFrameDim, observation_.begin() + kFrameDim);
    std::copy_n(goal_position(), 3, observation_.begin() + 2 * kFrameDim);
    path_length_ = 0;

    // Tasks move bodies after their last forward pass: one more for pictures and the next step, which must
    // find the solver's warm start as it was.
    const std::vector<double> warm_start(data_->qacc_warmstart, data_->qacc_warmstart + model()->nv);
    forward();
    std::copy(warm_start.begin(), warm_start.end(), data_->qacc_warmstart);
}

void SawyerEnv::settle() {
    if (settled_ != nullptr && is_drawable()) {
        mj_setState(model(), data_.get(), settled_->physics.data(), mjSTATE_INTEGRATION);
        for (mjWarningStat& warning : data_->warning) warning.number = 0;
        substeps(1);
    } else if (twin_) {
        // The twin's scene serves if it is this very one, whatever it was made for.
        std::lock_guard lock(twin_mutex_);
        if (twin_->settling_step_ < 0 || !twin_->view_.has_edits_of(view_)) {
            twin_->view_.copy_edits(view_);
            twin_->begin_settling();
        }
        while (twin_->settle_some()) continue;
        mj_copyData(data_.get(), model(), twin_->data_.get());
        derived_is_current_ = false;
    } else {
        begin_settling();
        while (settle_some()) continue;
    }
    init_tcp_ = tcp_center();
}

void SawyerEnv::begin_settling() {
    mj_resetData(model(), data_.get());
    settling_step_ = 0;
}

bool SawyerEnv::settle_some() {
    if (settling_step_ == kSettlingSteps) return false;
    std::copy_n(spec_.hand_init.begin(), 3, data_->mocap_pos);
    std::copy_n(kHandQuaternion, 4, data_->mocap_quat);
    data_->ctrl[0] = -1.0;
    data_->ctrl[1] = 1.0;
    substeps(kFrameSkip);
    return ++settling_step_ < kSettlingSteps;
}

Settled SawyerEnv::settle_default_scene() {
    begin_settling();
    while (settling_step_ < kSettlingSteps - 1) settle_some();
    // Controls and the mocap body keep the values of the last call.
    substeps(kFrameSkip - 1);
    Settled result;
    result.physics.resize(mj_stateSize(model(), mjSTATE_INTEGRATION));
    mj_getState(model(), data_.get(), result.physics.data(), mjSTATE_INTEGRATION);
    return result;
}

bool SawyerEnv::plan_reset(bool frozen) {
    // The twin's last scene is that of a frozen draw already.
    if (!twin_ || frozen) return false;
    std::lock_guard lock(twin_mutex_);
    twin_->rng_ = rng_;
    twin_->rand_vec_ = rand_vec_;
    twin_->view_.copy_edits(view_);
    std::vector<Attribute> own, others;
    list_all_attributes(&own);
    twin_->list_all_attributes(&others);
    for (std::size_t i = 0; i < own.size(); ++i) std::copy_n(own[i].values, own[i].size, others[i].values);
    twin_->draw();
    twin_->edit_model(twin_->rand_vec_.data());
    twin_->begin_settling();
    return !std::exchange(twin_is_planned_, true);
}

bool SawyerEnv::prepare_reset() {
    std::lock_guard lock(twin_mutex_);
    try {
        twin_is_planned_ = twin_->settling_step_ >= 0 && twin_->settle_some();
    } catch (...) {
        // The reset itself will meet the same error, and say so.
        twin_->settling_step_ = -1;
        twin_is_planned_ = false;
    }
    return twin_is_planned_;
}

void SawyerEnv::draw() {
    do {
        for (std::size_t i = 0; i < rand_vec_.size(); ++i) {
            rand_vec_[i] = rng_.uniform(spec_.random_low[i], spec_.random_high[i]);
        }
    } while (!accepts(rand_vec_.data()));
}

bool SawyerEnv::is_drawable() const {
    for (std::size_t i = 0; i < rand_vec_.size(); ++i) {
        if (rand_vec_[i] < spec_.random_low[i] || rand_vec_[i] > spec_.random_high[i]) return false;
    }
    return true;
}

void SawyerEnv::set_rand_vec(const double* rand_vec) {
    std::copy_n(rand_vec, rand_vec_.size(), rand_vec_.begin());
}

// ---- steps ----

bool SawyerEnv::step(const float* action, bool want_reward, Evaluation* evaluation) {
    // The hand's target moves by float32 amounts, as the published code computes it from float32 actions.
    for (int axis = 0; axis < 3; ++axis) {
        const float moved = std::min(std::max(action[axis], -1.0f), 1.0f) * kActionScale;
        data_->mocap_pos[axis] =
            clip(data_->mocap_pos[axis] + moved, spec_.hand_low[axis], spec_.hand_high[axis]);
    }
    std::copy_n(kHandQuaternion, 4, data_->mocap_quat);
    data_->ctrl[0] = action[3];
    data_->ctrl[1] = -action[3];

    // Physics, then the forward pass that observations are read from (it also warms the next step's solver).
    if (derived_is_current_) {
        first_substep();
        unseen_substeps(kFrameSkip - 1);
    } else {
        unseen_substeps(kFrameSkip);
    }
    forward();
    ++path_length_;

    // A step that went wrong leaves the last good observation in place.
    std::array<double, kObservationDim> next{};
    compute_frame(next.data());
    // Observations are handed out as float32.
    const bool finite = std::all_of(
        next.begin(), next.end(), [](double x) { return std::abs(x) <= std::numeric_limits<float>::max(); });
    if (is_unstable(data_.get()) || !finite) return false;

    std::copy_n(previous_frame_.begin(), kFrameDim, next.begin() + kFrameDim);
    std::copy_n(next.begin(), kFrameDim, previous_frame_.begin());
    std::copy_n(goal_position(), 3, next.begin() + 2 * kFrameDim);
    for (int i = 0; i < 4; ++i) {
        next[i] = clip(next[i], kFrameLow[i], kFrameHigh[i]);
        next[kFrameDim + i] = clip(next[kFrameDim + i], kFrameLow[i], kFrameHigh[i]);
    }
    for (int i = 0; i < 3; ++i) {
        double& goal = next[2 * kFrameDim + i];
        goal = clip(goal, spec_.goal_low[i], spec_.goal_high[i]);
    }
    observation_ = next;
    *evaluation = evaluate(observation_.data(), action, want_reward);
    return true;
}

void SawyerEnv::substeps(int count) {
    unseen_substeps(count - 1);
    mj_step(model(), data_.get());
}

void SawyerEnv::unseen_substeps(int count) {
    derived_is_current_ = false;
    for (int i = 0; i < count; ++i) mj_step(view_.unseen(), data_.get());
}

void SawyerEnv::forward() {
    mj_forward(model(), data_.get());
    derived_is_current_ = true;
}

void SawyerEnv::first_substep() {
    const mjModel* m = model();
    mjData* d = data_.get();
    derived_is_current_ = false;
    mj_checkPos(m, d);
    mj_checkVel(m, d);
    if (is_unstable(d)) {
        mj_forward(m, d);
    } else {
        // Since the last forward pass only the mocap body and the controls have moved: contacts, inertias and
        // velocity terms stand, the constraints are assembled anew around the moved body.
        std::copy_n(d->mocap_pos, 3, d->xpos + 3 * mocap_body_);
        std::copy_n(d->mocap_quat, 4, d->xquat + 4 * mocap_body_);
        mju_normalize4(d->xquat + 4 * mocap_body_);
        mju_quat2Mat(d->xmat + 9 * mocap_body_, d->xquat + 4 * mocap_body_);
        mj_makeConstraint(m, d);
        mj_projectConstraint(m, d);
        mj_referenceConstraint(m, d);
        mj_fwdActuation(m, d);
        mj_fwdAcceleration(m, d);
        mj_fwdConstraint(m, d);
    }
    mj_checkAcc(m, d);
    mj_Euler(m, d);
}

// ---- observations ----

void SawyerEnv::compute_frame(double* frame) const {
    std::copy_n(body_position(hand_), 3, frame);
    frame[3] = clip(distance3(body_position(right_claw_), body_position(left_claw_)) / 0.1, 0.0, 1.0);
    std::fill_n(frame + 4, kFrameDim - 4, 0.0);
    observe_objects(frame);
}

Vec3 SawyerEnv::tcp_center() const {
    Vec3 center;
    for (int i = 0; i < 3; ++i) {
        center[i] = (site_position(right_tip_)[i] + site_position(left_tip_)[i]) / 2.0;
    }
    return center;
}

// ---- tools for tasks ----

void SawyerEnv::set_positions(int qpos_start, const double* values, int count, int qvel_start,
                              int qvel_count) {
    std::copy_n(values, count, data_->qpos + qpos_start);
    std::fill_n(data_->qvel + qvel_start, qvel_count, 0.0);
    forward();
}

int SawyerEnv::joint_position(const char* name) const {
    return model()->jnt_qposadr[find_id(model(), mjOBJ_JOINT, name)];
}

void SawyerEnv::set_body_pos(int id, const Vec3& position) {
    std::copy_n(position.begin(), 3, view_.body_pos().begin() + 3 * id);
    derived_is_current_ = false;
}

void SawyerEnv::set_site_pos(int id, const Vec3& position) {
    std::copy_n(position.begin(), 3, view_.site_pos().begin() + 3 * id);
}

Scalar SawyerEnv::closing_effort(const float* action, double desired) {
    if (!(action[3] > 0.0f)) return 0.0;
    const float limit = static_cast<float>(desired);
    return limit < action[3] ? Scalar(1.0) : Scalar::single(action[3] / limit);
}

Scalar SawyerEnv::caging_reward(const float* action, const double* obj_pos, const Caging& caging) const {
    // Both pads around the object in y, judged against where the object started.
    double sides[2];
    const int pads[2] = {left_pad_, right_pad_};
    for (int i = 0; i < 2; ++i) {
        const double pad_y = body_position(pads[i])[1];
        const double margin = std::abs(std::abs(pad_y - cage_start()[1]) - caging.pad_success_thresh);
        sides[i] = long_tail_tolerance(std::abs(pad_y - obj_pos[1]), caging.obj_radius,
                                       caging.pad_success_thresh, margin);
    }
    const Scalar caging_y = hamacher_product(sides[0], sides[1]);

    const Scalar caged = hamacher_product(caging_y, tcp_over(obj_pos, caging.xz_thresh));

    // Closing counts once the object is caged.
    const Scalar gripping =
        caged.value > 0.97 ? closing_effort(action, caging.desired_gripper_effort) : Scalar(0.0);
    Scalar result = hamacher_product(caged, gripping);
    if (caging.high_density) result = (result + caged) / 2.0;
    if (caging.medium_density) {
        const Vec3 tcp = tcp_center();
        const double reach_margin =
            std::abs(distance3(cage_start().data(), init_tcp_.data()) - caging.object_reach_radius);
        const Scalar reach = long_tail_tolerance(distance3(obj_pos, tcp.data()), 0.0,
                                                 caging.object_reach_radius, reach_margin);
        result = (result + reach) / 2.0;
    }
    return result;
}

Scalar SawyerEnv::handle_reward(const float* action, const double* obs, double half_length,
                                bool high_density) const {
    double handle[3] = {obs[4], obs[5], obs[6]};
    if (std::abs(handle[0] - obs[0]) < half_length) handle[0] = obs[0];
    return caging_reward(action, handle,
                         {.obj_radius = 0.015,
                          .pad_success_thresh = 0.02,
                          .object_reach_radius = 0.01,
                          .xz_thresh = 0.01,
                          .high_density = high_density,
                          .medium_density = !high_density});
}

bool SawyerEnv::is_at_gripper(const double* obs, const double* object, double radius) const {
    return distance3(object, tcp_center().data()) < radius && obs[3] > 0.0;
}

double SawyerEnv::pinch_reward(const double* obj_pos, double obj_radius, double grip_slack,
                               double xz_thresh) const {
    const Scalar caged =
        hamacher_product(pads_around(obj_pos, obj_radius, kPadReach), tcp_over(obj_pos, xz_thresh));
    const Scalar gripped =
        caged.value > 0.95 ? pads_around(obj_pos, obj_radius, obj_radius + grip_slack) : Scalar(0.0);
    return ((caged + gripped) / 2.0).value;
}

Scalar SawyerEnv::pads_around(const double* obj_pos, double nearest, double farthest) const {
    // Margins follow the pads as they are now: the published code keeps live views of them.
    const double left = body_position(left_pad_)[1] - obj_pos[1];
    const double right = obj_pos[1] - body_position(right_pad_)[1];
    return hamacher_product(
        long_tail_tolerance(right, nearest, farthest, std::abs(std::abs(right) - kPadReach)),
        long_tail_tolerance(left, nearest, farthest, std::abs(std::abs(left) - kPadReach)));
}

Scalar SawyerEnv::tcp_over(const double* obj_pos, double xz_thresh) const {
    const Vec3 tcp = tcp_center();
    const double start = norm2(cage_start()[0] - init_tcp_[0], cage_start()[2] - init_tcp_[2]);
    return long_tail_tolerance(norm2(tcp[0] - obj_pos[0], tcp[2] - obj_pos[2]), 0.0, xz_thresh,
                               start - xz_thresh);
}

// ---- state ----

void SawyerEnv::list_all_attributes(std::vector<Attribute>* list) const {
    auto* self = const_cast<SawyerEnv*>(this);
    if (goal_position() == target_pos_.data()) list->push_back({"_target_pos", self->target_pos_.data(), 3});
    list->push_back({"init_tcp", self->init_tcp_.data(), 3});
    if (start_is_kept_) list->push_back({"obj_init_pos", self->obj_init_pos_.data(), 3});
    self->list_attributes(list);
}

StateEntries SawyerEnv::get_state() const {
    using Kind = StateEntry::Kind;
    const mjModel* m = model();
    std::vector<double> physics(mj_stateSize(m, mjSTATE_INTEGRATION));
    mj_getState(m, data_.get(), physics.data(), mjSTATE_INTEGRATION);
    const auto words = rng_.words();

    StateEntries entries;
    const auto dim = [](std::size_t size) {
        return std::vector<std::ptrdiff_t>{static_cast<std::ptrdiff_t>(size)};
    };
    entries.push_back({"physics", Kind::float64, dim(physics.size()), physics, {}});
    entries.push_back({"body_pos", Kind::float64, {m->nbody, 3}, view_.body_pos(), {}});
    entries.push_back({"site_pos", Kind::float64, {m->nsite, 3}, view_.site_pos(), {}});
    entries.push_back({"rng", Kind::uint64, dim(words.size()), {}, {words.begin(), words.end()}});
    entries.push_back({"rand_vec", Kind::float64, dim(rand_vec_.size()), rand_vec_, {}});
    entries.push_back(
        {"prev_frame", Kind::float64, dim(kFrameDim), {previous_frame_.begin(), previous_frame_.end()}, {}});
    entries.push_back({"path_length", Kind::int64, {}, {static_cast<double>(path_length_)}, {}});
    entries.push_back(
        {"observation", Kind::float64, dim(kObservationDim), {observation_.begin(), observation_.end()}, {}});
    std::vector<Attribute> attributes;
    list_all_attributes(&attributes);
    for (const Attribute& a : attributes) {
        const auto shape = a.is_scalar ? std::vector<std::ptrdiff_t>{} : dim(a.size);
        entries.push_back({"task/" + a.name, Kind::float64, shape, {a.values, a.values + a.size}, {}});
    }
    return entries;
}

void SawyerEnv::set_state(const StateEntries& entries) {
    const mjModel* m = model();
    std::vector<Attribute> attributes;
    list_all_attributes(&attributes);
    const auto find = [&entries](const std::string& name) -> const StateEntry& {
        for (const StateEntry& entry : entries) {
            if (entry.name == name) return entry;
        }
        throw std::invalid_argument("state: expected an entry '" + name + "', found none");
    };

    view_.body_pos().assign(find("body_pos").values.begin(), find("body_pos").values.end());
    view_.site_pos().assign(find("site_pos").values.begin(), find("site_pos").values.end());
    // MuJoCo keeps pointers into these arrays, whose sizes set_state's caller has checked.
    rand_vec_ = find("rand_vec").values;
    std::copy_n(find("prev_frame").values.begin(), kFrameDim, previous_frame_.begin());
    std::copy_n(find("observation").values.begin(), kObservationDim, observation_.begin());
    path_length_ = static_cast<std::int64_t>(find("path_length").values[0]);
    Pcg64::Words words;
    std::copy_n(find("rng").words.begin(), words.size(), words.begin());
    rng_.set_words(words);
    for (const Attribute& a : attributes)
        std::copy_n(find("task/" + a.name).values.begin(), a.size, a.values);

    // Derived quantities follow from the state and its warm start, which the forward pass would replace.
    const std::vector<double>& physics = find("physics").values;
    mj_resetData(m, data_.get());
    mj_setState(m, data_.get(), physics.data(), mjSTATE_INTEGRATION);
    forward();
    mj_setState(m, data_.get(), physics.data(), mjSTATE_INTEGRATION);
}

void quaternion_from_matrix(const double* matrix, double* quaternion) {
    const auto m = [matrix](int row, int column) { return matrix[3 * row + column]; };
    const double trace = m(0, 0) + m(1, 1) + m(2, 2);
    const double candidates[4] = {m(0, 0), m(1, 1), m(2, 2), trace};
    const int largest = static_cast<int>(std::max_element(candidates, candidates + 4) - candidates);
    if (largest == 3) {
        quaternion[0] = m(2, 1) - m(1, 2);
        quaternion[1] = m(0, 2) - m(2, 0);
        quaternion[2] = m(1, 0) - m(0, 1);
        quaternion[3] = 1.0 + trace;
    } else {
        const int i = largest, j = (i + 1) % 3, k = (j + 1) % 3;
        quaternion[i] = 1.0 - trace + 2.0 * m(i, i);
        quaternion[j] = m(j, i) + m(i, j);
        quaternion[k] = m(k, i) + m(i, k);
        quaternion[3] = m(k, j) - m(j, k);
    }
    double squares = 0.0;
    for (int i = 0; i < 4; ++i) squares += quaternion[i] * quaternion[i];
    for (int i = 0; i < 4; ++i) quaternion[i] /= std::sqrt(squares);
}

}  // namespace ibrl::metaworld
