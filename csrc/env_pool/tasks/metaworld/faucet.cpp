// A handle that turns about a vertical axis on a base that a draw moves. Source: metaworld 3.1.1,
// SawyerFaucetCloseEnvV3 and SawyerFaucetOpenEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

class Faucet final : public SawyerEnv {
  public:
    struct Parts {
        const char* handle;   // the site on the handle that is observed
        const char* goal;     // the site that marks the goal
        double side;          // on which the goal is: 1 right, -1 left
        Vec3 rewarded;        // m from what is observed to what is to come to the goal
        bool frame_is_fresh;  // false: the frame of a reset shows the faucet of its first draw, as published
    };

    Faucet(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
           const Parts& parts)
        : SawyerEnv(std::move(base), spec, settled),
          parts_(parts),
          base_(body("faucetBase")),
          handle_(site(parts.handle)),
          goal_(site(parts.goal)) {}

  protected:
    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[0] + parts_.side * 0.175, rv[1], rv[2] + 0.125};
        set_body_pos(base_, {rv[0], rv[1], rv[2]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);
        max_pull_distance_ = distance3(target_pos_.data(), obj_init_pos_.data());
        if (parts_.frame_is_fresh) forward();
    }

    void observe_objects(double* frame) const override {
        std::copy_n(site_position(handle_), 3, frame + 4);
        frame[6] += -0.01;
        std::copy_n(data_->xquat + 4 * base_, 4, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double radius = 0.07;
        const double handle[3] = {obs[4] + parts_.rewarded[0], obs[5] + parts_.rewarded[1],
                                  obs[6] + parts_.rewarded[2]};
        const double to_target = distance3(handle, target_pos_.data());
        Evaluation result;
        result.success = to_target <= radius;
        if (!want_reward) return result;
        if (result.success) {
            result.reward = 10.0;
            return result;
        }

        // The handle at the goal, and the gripper at the handle.
        const double start = distance3(obj_init_pos_.data(), target_pos_.data());
        const double in_place = long_tail_tolerance(to_target, 0.0, radius, std::abs(start - radius));
        const double reach_start = distance3(obj_init_pos_.data(), init_tcp_.data());
        const double reach = gaussian_tolerance(distance3(handle, tcp_center().data()), 0.0, 0.01,
                                                std::abs(reach_start - 0.01));
        result.reward = (2.0 * reach + 3.0 * in_place) * 2.0;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxPullDist", &max_pull_distance_, 1, true});
        list->push_back({"reachCompleted", &reach_completed_, 1, true});
    }

  private:
    const Parts parts_;
    int base_, handle_, goal_;
    double max_pull_distance_ = 0.0, reach_completed_ = 0.0;
};

// Bases stand up to that far to either side (m).
SawyerSpec faucet_spec(double half_width) {
    return {.model_path = "sawyer_xyz/sawyer_faucet.xml",
            .hand_low = kDeepHandLow,
            .hand_init = kNearHandInit,
            .random_low = {-half_width, 0.8, 0.0},
            .random_high = {half_width, 0.85, 0.0},
            .goal_low = kDeepHandLow,
            .goal_high = kHandHigh};
}

}  // namespace

SawyerTasks faucet_tasks() {
    return {
        {.name = "faucet-close",
         .spec = faucet_spec(0.1),
         .settles_alike = true,
         .make = make_sawyer_from<Faucet>(Faucet::Parts{.handle = "handleStartClose",
                                                        .goal = "goal_close",
                                                        .side = -1.0,
                                                        .rewarded = {0.0, 0.0, 0.0},
                                                        .frame_is_fresh = true})},
        {.name = "faucet-open",
         .spec = faucet_spec(0.05),
         .settles_alike = true,
         .make = make_sawyer_from<Faucet>(Faucet::Parts{.handle = "handleStartOpen",
                                                        .goal = "goal_open",
                                                        .side = 1.0,
                                                        .rewarded = {-0.04, 0.0, 0.03},
                                                        .frame_is_fresh = false})},
    };
}

}  // namespace ibrl::metaworld
