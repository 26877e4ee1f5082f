// Put a block onto a shelf. Source: metaworld 3.1.1, SawyerShelfPlaceEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/puck_env.h"

namespace ibrl::metaworld {
namespace {

constexpr double kBoardHeight = 0.24;       // of the board that the block shall lie on, m
constexpr double kFrontDepth = 0.05 * 3.0;  // of the space before the target that the shelf takes, m

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

SawyerTask shelf_place_task() {
    const double hand_height = 0.2f, hand_y = 0.6f;  // published as float32
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_shelf_placing.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, hand_y, hand_height},
                    .random_low = {-0.1, 0.5, 0.019, -0.1, 0.8, 0.299},
                    .random_high = {0.1, 0.6, 0.021, 0.1, 0.9, 0.301},
                    .goal_low = {-0.1, 0.8, 0.299},
                    .goal_high = {0.1, 0.9, 0.301}};
    const PuckTraits traits{.notes_lift_threshold = true, .notes_push = false, .min_distance = 0.1};
    return {spec, true, make_sawyer_from<ShelfPlace>(traits)};
}

}  // namespace ibrl::metaworld
