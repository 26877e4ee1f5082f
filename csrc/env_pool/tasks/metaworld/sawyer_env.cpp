#include "env_pool/tasks/metaworld/sawyer_env.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

namespace ibrl::metaworld {
namespace {

// Bounds to which the published step() clips the hand and the gripper of both frames.
constexpr double kFrameLow[4] = {-0.525, 0.348, -0.0525, -1.0};
constexpr double kFrameHigh[4] = {0.525, 1.025, 0.7, 1.0};

double clip(double x, double low, double high) {
    return std::min(std::max(x, low), high);
}

}  // namespace

SawyerEnv::SawyerEnv(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
    : Gripper(std::move(base), spec), settled_(settled), rand_vec_(spec.random_low.size()) {}

// ---- episodes ----

void SawyerEnv::reset(bool repeats_start) {
    // The published reset runs the task's reset twice; of the first, only the model edits of its draw survive.
    if (!repeats_start) draw();
    edit_model(rand_vec_.data());
    settle();
    if (!repeats_start) draw();
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
        restore_settled(*settled_);
    } else if (twin_) {
        twin_->settle(*this);
    } else {
        begin_settling();
        while (settle_some()) continue;
    }
    init_tcp_ = tcp_center();
}

bool SawyerEnv::plan_reset(bool repeats_start) {
    // The twin's last scene is that of a repeated start already.
    return twin_ && !repeats_start && twin_->plan(*this);
}

void SawyerEnv::copy_task(const SawyerEnv& other) {
    rng_ = other.rng_;
    rand_vec_ = other.rand_vec_;
    view_.copy_edits(other.view_);
    std::vector<Attribute> own, others;
    list_all_attributes(&own);
    other.list_all_attributes(&others);
    for (std::size_t i = 0; i < own.size(); ++i) std::copy_n(others[i].values, own[i].size, own[i].values);
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

void SawyerEnv::set_start(const double* start) {
    std::copy_n(start, rand_vec_.size(), rand_vec_.begin());
}

// ---- steps ----

bool SawyerEnv::step(const float* action, bool want_reward, Evaluation* evaluation) {
    move(action);
    ++path_length_;

    // A step that went wrong leaves the last good observation in place.
    std::array<double, kObservationDim> next{};
    compute_frame(next.data());
    // Observations are handed out as float32.
    const bool finite = std::all_of(
        next.begin(), next.end(), [](double x) { return std::abs(x) <= std::numeric_limits<float>::max(); });
    if (!is_stable() || !finite) return false;

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

void SawyerEnv::compute_frame(double* frame) const {
    std::copy_n(body_position(hand_), 3, frame);
    frame[3] = clip(distance3(body_position(right_claw_), body_position(left_claw_)) / 0.1, 0.0, 1.0);
    std::fill_n(frame + 4, kFrameDim - 4, 0.0);
    observe_objects(frame);
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

}  // namespace ibrl::metaworld
