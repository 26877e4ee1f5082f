// A puck, or a block, is lifted to a place: in the air, behind a wall, out of a hole, onto a shelf.
#include <algorithm>

#include "env_pool/tasks/metaworld/puck.h"

namespace ibrl::metaworld {
namespace {

// Lift a puck to a place in the air. Source: metaworld 3.1.1, SawyerPickPlaceEnvV3.
class PickPlace final : public PuckEnv {
  public:
    using PuckEnv::PuckEnv;

  protected:
    Scalar shape_reward(const double* obs, const float* action, double in_place) const override {
        const double* puck = obs + 4;
        const bool is_held = is_at_gripper(obs, puck, 0.02) && puck[2] - 0.01 > obj_init_pos_[2];
        return carry_reward(grasp_reward(action, puck), in_place, is_held);
    }

  private:
    // This task's own caging: margins follow the pads.
    Scalar grasp_reward(const float* action, const double* puck) const {
        const Scalar caging = hamacher_product(pads_around(puck, 0.015, 0.05), tcp_over(puck, 0.005));
        const Scalar gripping = caging.value > 0.97 ? closing_effort(action) : Scalar(0.0);
        return (hamacher_product(caging, gripping) + caging) / 2.0;
    }
};

// Lift a puck over a wall. Source: metaworld 3.1.1, SawyerPickPlaceWallEnvV3.
class PickPlaceWall final : public PuckEnv {
  public:
    using PuckEnv::PuckEnv;

  protected:
    void place(const double* rv) override {
        PuckEnv::place(rv);
        target_rewards_ = {1000.0 * lift_.max_placing_distance + 2000.0,
                           1000.0 * max_reach_distance_ + 2000.0, 1000.0 * max_push_distance_ + 2000.0};
    }

    Scalar shape_reward(const double* obs, const float* action, double in_place) const override {
        // Above the wall, before the goal; errors in height count three times.
        const double* puck = obs + 4;
        const double midpoint[3] = {target_pos_[0], 0.77, 0.25};
        const double at_midpoint = approach(puck, midpoint, {1.0, 1.0, 3.0});

        const Scalar reward = hamacher_product(caging_reward(action, puck, puck_caging(false)), at_midpoint);
        const bool is_held = is_at_gripper(obs, puck, 0.02) && puck[2] - 0.015 > obj_init_pos_[2];
        return is_held ? pass_wall(reward, puck, at_midpoint, in_place) : reward;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        PuckEnv::list_attributes(list);
        list->push_back({"target_rewards", target_rewards_.data(), 3});
    }

  private:
    Vec3 target_rewards_{};
};

// Lift a puck out of a hole in the table. Source: metaworld 3.1.1, SawyerPickOutOfHoleEnvV3.
class PickOutOfHole final : public PuckEnv {
  public:
    using PuckEnv::PuckEnv;

  protected:
    void observe_objects(double* frame) const override {
        std::copy_n(body_position(object_), 3, frame + 4);
        std::copy_n(data_->xquat + 4 * object_, 4, frame + 7);
    }

    Scalar shape_reward(const double* obs, const float* action, double in_place) const override {
        const double* puck = obs + 4;
        const Scalar grasped = caging_reward(action, puck,
                                             {.obj_radius = 0.015,
                                              .pad_success_thresh = 0.02,
                                              .object_reach_radius = 0.01,
                                              .xz_thresh = 0.03,
                                              .desired_gripper_effort = 0.1,
                                              .high_density = true});
        const Scalar reward = hamacher_product(grasped, in_place);

        // A held puck's way leads through a funnel over the hole.
        const Vec3 tcp = tcp_center();
        const bool is_held =
            distance3(puck, tcp.data()) < 0.04 && puck[2] - 0.02 > obj_init_pos_[2] && !(obs[3] < 0.33);
        if (!is_held) return reward;
        const double radius = norm2(tcp[0] - obj_init_pos_[0], tcp[1] - obj_init_pos_[1]);
        const double above = above_funnel(tcp[2], funnel_height(radius, 0.03, 0.015, 0.15), 0.02);
        return reward + (1.0 + 5.0 * hamacher_product(in_place, above).value);
    }
};

constexpr double kBoardHeight = 0.24;       // of the board that the block shall lie on, m
constexpr double kFrontDepth = 0.05 * 3.0;  // of the space before the target that the shelf takes, m

// Put a block onto a shelf. Source: metaworld 3.1.1, SawyerShelfPlaceEnvV3.
class ShelfPlace final : public PuckEnv {
  public:
    ShelfPlace(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
               const PuckTraits& traits)
        : PuckEnv(std::move(base), spec, settled, traits), shelf_(body("shelf")) {}

  protected:
    // The goal is a site of the shelf.
    void edit_model(const double* rv) override {
        const Vec3 shelf{rv[3], rv[4], rv[5] - 0.3};
        set_body_pos(shelf_, shelf);
        for (int i = 0; i < 3; ++i) target_pos_[i] = view_.site_pos()[3 * goal_ + i] + shelf[i];
    }

    void place(const double* rv) override {
        const double rest_height = body_position(object_)[2];
        edit_model(rv);
        forward();
        put_puck({rv[0], rv[1], rest_height});
    }

    Scalar shape_reward(const double* obs, const float* action, double in_place) const override {
        const double* block = obs + 4;
        const Scalar reward = hamacher_product(caging_reward(action, block,
                                                             {.obj_radius = 0.02,
                                                              .pad_success_thresh = 0.05,
                                                              .object_reach_radius = 0.01,
                                                              .xz_thresh = 0.01}),
                                               in_place);
        if (!is_at_gripper(obs, block, 0.025) || !(block[2] - 0.01 > obj_init_pos_[2])) return reward;

        // Below the board it pays less the deeper the block is under it, and behind the target not at all.
        const double front = target_pos_[1] - kFrontDepth;
        const bool is_below = 0.0 < block[2] && block[2] < kBoardHeight && target_pos_[0] - 0.15 < block[0] &&
                              block[0] < target_pos_[0] + 0.15;
        if (is_below && block[1] > target_pos_[1]) return reward + 1.0;
        if (is_below && front < block[1] && block[1] < target_pos_[1]) {
            const double depth = (block[1] - front) / kFrontDepth;
            const double drop = (kBoardHeight - block[2]) / kBoardHeight;
            const double loss = hamacher_product(depth, drop).value;
            // float64 from here on, whatever the action's type.
            return reward.value + (1.0 + 5.0 * std::clamp(in_place - loss, 0.0, 1.0));
        }
        return reward + (1.0 + 5.0 * in_place);
    }

  private:
    int shelf_;
};

}  // namespace

SawyerTasks pick_place_tasks() {
    return {
        {.name = "pick-place",
         .spec = raised_goal_spec("sawyer_xyz/sawyer_pick_place_v3.xml"),
         .settles_alike = true,
         .make = make_sawyer_from<PickPlace>(PuckTraits{})},
        {.name = "pick-place-wall",
         .spec = raised_goal_behind_wall_spec("sawyer_xyz/sawyer_pick_place_wall_v3.xml"),
         .settles_alike = true,
         .make =
             make_sawyer_from<PickPlaceWall>(PuckTraits{.notes_lift_threshold = true, .notes_reach = true})},
        {.name = "pick-out-of-hole",
         .spec = {.model_path = "sawyer_xyz/sawyer_pick_out_of_hole.xml",
                  .hand_low = {-0.5, 0.40, -0.05},
                  .random_low = {0.0, 0.75, 0.02, -0.1, 0.5, 0.15},
                  .random_high = {0.0, 0.75, 0.02, 0.1, 0.6, 0.3},
                  .goal_low = {-0.1, 0.5, 0.15},
                  .goal_high = {0.1, 0.6, 0.3}},
         .settles_alike = true,
         .make = make_sawyer_from<PickOutOfHole>(PuckTraits{.notes_lift_threshold = true,
                                                            .notes_push = false,
                                                            .lift_threshold = 0.11,
                                                            .placing_radius = 0.02})},
        {.name = "shelf-place",
         .spec = {.model_path = "sawyer_xyz/sawyer_shelf_placing.xml",
                  .hand_init = kHandInitSingle,
                  .random_low = {-0.1, 0.5, 0.019, -0.1, 0.8, 0.299},
                  .random_high = {0.1, 0.6, 0.021, 0.1, 0.9, 0.301},
                  .goal_low = {-0.1, 0.8, 0.299},
                  .goal_high = {0.1, 0.9, 0.301}},
         .settles_alike = true,
         .make = make_sawyer_from<ShelfPlace>(
             PuckTraits{.notes_lift_threshold = true, .notes_push = false, .min_distance = 0.1})},
    };
}

}  // namespace ibrl::metaworld
