// Pull a thermos by pushing a stick through its handle. Source: metaworld 3.1.1, SawyerStickPullEnvV3.
#include "env_pool/tasks/metaworld/stick_env.h"

namespace ibrl::metaworld {
namespace {

class StickPull final : public StickEnv {
  public:
    StickPull(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : StickEnv(std::move(base), spec, settled,
                   {.thermos_start = {0.0, 0.09}, .observed_offset = 0.0, .distance_name = "maxPullDist"}),
          stick_end_(site("stick_end")) {}

  protected:
    double goal_height() const override { return kStickHeight; }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double *stick = obs + 4, *handle = obs + 11, *end = site_position(stick_end_);
        const double* target = target_pos_.data();
        const bool inserted = end[0] >= handle[0] && std::abs(end[1] - handle[1]) <= 0.040 &&
                              std::abs(end[2] - handle[2]) <= 0.060;
        const double handle_to_target = distance3(handle, target);
        Evaluation result;
        result.success = handle_to_target <= 0.12 && inserted;
        if (!want_reward) return result;

        // Stick to the container's opening; heights count twice.
        const double container[3] = {handle[0] + 0.05, handle[1], handle[2]};
        const double container_start[3] = {obj_init_pos_[0] + 0.05, obj_init_pos_[1], obj_init_pos_[2]};
        const double scale[3] = {1.0, 1.0, 2.0};
        const double in_place =
            long_tail_tolerance(scaled_distance3(stick, container, scale), 0.0, 0.05,
                                scaled_distance3(stick_init_pos_.data(), container_start, scale));

        // Grasping the stick.
        const bool held = is_held(obs, stick);
        const Scalar grasped = held ? Scalar(1.0)
                                    : caging_reward(action, stick,
                                                    {.obj_radius = 0.014,
                                                     .pad_success_thresh = 0.05,
                                                     .object_reach_radius = 0.01,
                                                     .xz_thresh = 0.01,
                                                     .high_density = true});
        const Scalar grasped_in_place = hamacher_product(grasped, in_place);
        Scalar reward = grasped_in_place;
        if (held) reward = 1.0 + grasped_in_place + 5.0 * in_place;

        // Pulling the container.
        if (held && inserted) {
            const double stick_at_target = long_tail_tolerance(distance3(stick, target), 0.0, 0.05,
                                                               distance3(stick_init_pos_.data(), target));
            const double container_at_target = long_tail_tolerance(distance3(container, target), 0.0, 0.05,
                                                                   distance3(obj_init_pos_.data(), target));
            reward = 1.0 + grasped_in_place + 5.0 + 2.0 * stick_at_target + container_at_target;
            if (handle_to_target <= 0.12) reward = 10.0;
        }
        result.reward = reward.value;
        return result;
    }

  private:
    int stick_end_;
};

}  // namespace

SawyerTask stick_pull_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_stick_obj.xml",
                    .hand_low = {-0.5, 0.35, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.1, 0.55, 0.000, 0.35, 0.45, 0.0199},
                    .random_high = {0.0, 0.65, 0.001, 0.45, 0.55, 0.0201},
                    .goal_low = {0.35, 0.45, 0.0199},
                    .goal_high = {0.45, 0.55, 0.0201}};
    return {spec, true, make_sawyer<StickPull>};
}

}  // namespace ibrl::metaworld
