#include "env_pool/tasks/metaworld/sawyer_arm.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace ibrl::metaworld {
namespace {

constexpr double kHandQuaternion[4] = {1.0, 0.0, 1.0, 0.0};
constexpr float kActionScale = 0.01f;  // m per unit of action and simulation step

}  // namespace

SawyerArm::SawyerArm(std::shared_ptr<const mjModel> base, const SawyerSpec& spec)
    : spec_(spec), view_(std::move(base)), data_(mj_makeData(view_.get())) {
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

// ---- steps ----

void SawyerArm::move(const float* action) {
    // The hand's target moves by float32 amounts, as the published code computes it from float32 actions.
    for (int axis = 0; axis < 3; ++axis) {
        const float moved = std::min(std::max(action[axis], -1.0f), 1.0f) * kActionScale;
        data_->mocap_pos[axis] =
            std::min(std::max(data_->mocap_pos[axis] + moved, spec_.hand_low[axis]), spec_.hand_high[axis]);
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
}

bool SawyerArm::is_stable() const {
    for (const mjtWarning kind : {mjWARN_BADQPOS, mjWARN_BADQVEL, mjWARN_BADQACC, mjWARN_BADCTRL}) {
        if (data_->warning[kind].number > 0) return false;
    }
    return true;
}

void SawyerArm::substeps(int count) {
    unseen_substeps(count - 1);
    mj_step(model(), data_.get());
}

void SawyerArm::unseen_substeps(int count) {
    derived_is_current_ = false;
    for (int i = 0; i < count; ++i) mj_step(view_.unseen(), data_.get());
}

void SawyerArm::forward() {
    mj_forward(model(), data_.get());
    derived_is_current_ = true;
}

void SawyerArm::first_substep() {
    const mjModel* m = model();
    mjData* d = data_.get();
    derived_is_current_ = false;
    mj_checkPos(m, d);
    mj_checkVel(m, d);
    if (!is_stable()) {
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

// ---- settling ----

void SawyerArm::begin_settling() {
    mj_resetData(model(), data_.get());
    settling_step_ = 0;
}

bool SawyerArm::settle_some() {
    if (settling_step_ == kSettlingSteps) return false;
    std::copy_n(spec_.hand_init.begin(), 3, data_->mocap_pos);
    std::copy_n(kHandQuaternion, 4, data_->mocap_quat);
    data_->ctrl[0] = -1.0;
    data_->ctrl[1] = 1.0;
    substeps(kFrameSkip);
    return ++settling_step_ < kSettlingSteps;
}

Settled SawyerArm::settle_default_scene() {
    begin_settling();
    while (settling_step_ < kSettlingSteps - 1) settle_some();
    // Controls and the mocap body keep the values of the last call.
    substeps(kFrameSkip - 1);
    Settled result;
    result.physics.resize(mj_stateSize(model(), mjSTATE_INTEGRATION));
    mj_getState(model(), data_.get(), result.physics.data(), mjSTATE_INTEGRATION);
    return result;
}

void SawyerArm::restore_settled(const Settled& settled) {
    mj_setState(model(), data_.get(), settled.physics.data(), mjSTATE_INTEGRATION);
    for (mjWarningStat& warning : data_->warning) warning.number = 0;
    substeps(1);
}

void SawyerArm::copy_physics(const mjData* from) {
    mj_copyData(data_.get(), model(), from);
    derived_is_current_ = false;
}

// ---- positions ----

Vec3 SawyerArm::tcp_center() const {
    Vec3 center;
    for (int i = 0; i < 3; ++i) {
        center[i] = (site_position(right_tip_)[i] + site_position(left_tip_)[i]) / 2.0;
    }
    return center;
}

void SawyerArm::set_positions(int qpos_start, const double* values, int count, int qvel_start,
                              int qvel_count) {
    std::copy_n(values, count, data_->qpos + qpos_start);
    std::fill_n(data_->qvel + qvel_start, qvel_count, 0.0);
    forward();
}

int SawyerArm::joint_position(const char* name) const {
    return model()->jnt_qposadr[find_id(model(), mjOBJ_JOINT, name)];
}

void SawyerArm::set_body_pos(int id, const Vec3& position) {
    std::copy_n(position.begin(), 3, view_.body_pos().begin() + 3 * id);
    derived_is_current_ = false;
}

void SawyerArm::set_site_pos(int id, const Vec3& position) {
    std::copy_n(position.begin(), 3, view_.site_pos().begin() + 3 * id);
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
