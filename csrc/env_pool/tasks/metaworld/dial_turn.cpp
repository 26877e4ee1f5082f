// Turn a dial. Source: metaworld 3.1.1, SawyerDialTurnEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

constexpr double kTargetRadius = 0.07;  // m
constexpr double kReachRadius = 0.005;  // m

class DialTurn final : public SawyerEnv {
  public:
    DialTurn(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          dial_(body("dial")),
          goal_(site("goal")),
          knob_(joint_position("knob_Joint_1")) {}

  protected:
    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[0], rv[1] + 0.03, rv[2] + 0.03};
        set_body_pos(dial_, {rv[0], rv[1], rv[2]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        compute_frame(settled_frame_.data());
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);
        max_pull_distance_ = std::abs(target_pos_[1] - obj_init_pos_[1]);

        // The published code has no forward pass: this is the dial of the first draw.
        push_start_ = push_position(settled_frame_.data() + 4);
    }

    void observe_objects(double* frame) const override {
        // A place on the rim.
        const double angle = data_->qpos[knob_];
        const double* center = body_position(dial_);
        frame[4] = center[0] + std::sin(angle) * 0.05;
        frame[5] = center[1] + -std::cos(angle) * 0.05;
        frame[6] = center[2];
        std::copy_n(data_->xquat + 4 * dial_, 4, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double* rim = obs + 4;
        const double to_target = distance3(rim, target_pos_.data());
        Evaluation result;
        result.success = to_target <= kTargetRadius;
        if (!want_reward) return result;

        // A closed gripper where the dial is pushed, and the dial turned.
        const double start = distance3(push_start_.data(), target_pos_.data());
        const double in_place =
            long_tail_tolerance(to_target, 0.0, kTargetRadius, std::abs(start - kTargetRadius));
        const double reach_start = distance3(push_start_.data(), init_tcp_.data());
        const double reach = gaussian_tolerance(distance3(push_position(rim).data(), tcp_center().data()),
                                                0.0, kReachRadius, std::abs(reach_start - kReachRadius));
        const Scalar ready = hamacher_product(reach, closing_effort(action));
        result.reward = (Scalar(10.0) * hamacher_product(ready, in_place)).value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"dial_push_position", push_start_.data(), 3});
        list->push_back({"maxPullDist", &max_pull_distance_, 1, true});
        list->push_back({"prev_obs", settled_frame_.data(), kFrameDim});
    }

  private:
    static Vec3 push_position(const double* rim) { return {rim[0] + 0.05, rim[1] + 0.02, rim[2] + 0.09}; }

    int dial_, goal_, knob_;
    std::array<double, kFrameDim> settled_frame_{};
    Vec3 push_start_{};
    double max_pull_distance_ = 0.0;
};

}  // namespace

SawyerTasks dial_turn_tasks() {
    return {
        {.name = "dial-turn",
         .spec = {.model_path = "sawyer_xyz/sawyer_dial.xml",
                  .hand_init = kHandInitSingle,
                  .random_low = {-0.1, 0.7, 0.0},
                  .random_high = {0.1, 0.8, 0.0},
                  .goal_low = {-0.1, 0.73, 0.0299},
                  .goal_high = {0.1, 0.83, 0.0301}},
         .settles_alike = true,
         .make = make_sawyer<DialTurn>},
    };
}

}  // namespace ibrl::metaworld
