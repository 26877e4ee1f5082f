// What faucet tasks share: a handle that turns about a vertical axis on a base that a draw moves.
#pragma once

#include <algorithm>

#include "env_pool/tasks/metaworld/sawyer_env.h"

namespace ibrl::metaworld {

class Faucet : public SawyerEnv {
  protected:
    // The observed place on the handle, the goal's mark, and the side on which the goal is (1: right, -1:
    // left).
    Faucet(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
           const char* observed_site, const char* goal_site, double side)
        : SawyerEnv(std::move(base), spec, settled),
          goal_offset_{side * 0.175, 0.0, 0.125},
          base_(body("faucetBase")),
          observed_(site(observed_site)),
          goal_(site(goal_site)) {}

    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        for (int i = 0; i < 3; ++i) target_pos_[i] = rv[i] + goal_offset_[i];
        set_body_pos(base_, {rv[0], rv[1], rv[2]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);
        max_pull_distance_ = distance3(target_pos_.data(), obj_init_pos_.data());
    }

    void observe_objects(double* frame) const override {
        std::copy_n(site_position(observed_), 3, frame + 4);
        frame[6] += -0.01;
        std::copy_n(data_->xquat + 4 * base_, 4, frame + 7);
    }

    // For a place on the handle (m) that is to come to the goal, with the gripper at it.
    Evaluation turned(const Vec3& handle, bool want_reward) const {
        const double radius = 0.07;
        const double to_target = distance3(handle.data(), target_pos_.data());
        Evaluation result;
        result.success = to_target <= radius;
        if (!want_reward) return result;
        if (result.success) {
            result.reward = 10.0;
            return result;
        }
        const double start = distance3(obj_init_pos_.data(), target_pos_.data());
        const double in_place = long_tail_tolerance(to_target, 0.0, radius, std::abs(start - radius));
        const double reach_start = distance3(obj_init_pos_.data(), init_tcp_.data());
        const double reach = gaussian_tolerance(distance3(handle.data(), tcp_center().data()), 0.0, 0.01,
                                                std::abs(reach_start - 0.01));
        result.reward = (2.0 * reach + 3.0 * in_place) * 2.0;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxPullDist", &max_pull_distance_, 1, true});
        list->push_back({"reachCompleted", &reach_completed_, 1, true});
    }

  private:
    const Vec3 goal_offset_;
    int base_, observed_, goal_;
    double max_pull_distance_ = 0.0, reach_completed_ = 0.0;
};

// Bases stand up to that far to either side (m).
inline SawyerSpec faucet_spec(double half_width) {
    return {.model_path = "sawyer_xyz/sawyer_faucet.xml",
            .hand_low = {-0.5, 0.40, -0.15},
            .hand_high = {0.5, 1.0, 0.5},
            .hand_init = {0.0, 0.4, 0.2},
            .random_low = {-half_width, 0.8, 0.0},
            .random_high = {half_width, 0.85, 0.0},
            .goal_low = {-0.5, 0.40, -0.15},
            .goal_high = {0.5, 1.0, 0.5}};
}

}  // namespace ibrl::metaworld
