// Push an open door shut. Source: metaworld 3.1.1, SawyerDoorCloseEnvV3.
#include "env_pool/tasks/metaworld/door.h"

namespace ibrl::metaworld {
namespace {

constexpr double kTargetRadius = 0.05;  // m

class DoorClose final : public Door {
  public:
    DoorClose(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Door(std::move(base), spec, settled, {0.2, -0.2, 0.0}, -1.5708) {}

  protected:
    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* handle = obs + 4;
        const double to_target = distance3(handle, target_pos_.data());
        Evaluation result;
        result.success = to_target <= 0.08;
        if (!want_reward) return result;
        if (to_target < kTargetRadius) {
            result.reward = 10.0;
            return result;
        }

        // Hand and handle at the goal; the hand is judged against its start's distance to the handle.
        const double in_place = gaussian_tolerance(to_target, 0.0, kTargetRadius,
                                                   distance3(obj_init_pos_.data(), target_pos_.data()));
        const double hand_in_place =
            gaussian_tolerance(distance3(tcp_center().data(), target_pos_.data()), 0.0, 0.25 * kTargetRadius,
                               distance3(spec_.hand_init.data(), handle) + 0.1);
        result.reward = 3.0 * hand_in_place + 6.0 * in_place;
        return result;
    }
};

}  // namespace

SawyerTask door_close_task() {
    const double hand_height = 0.2f, hand_y = 0.6f;  // published as float32
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_door_pull.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {-0.5, hand_y, hand_height},
                    .random_low = {0.0, 0.85, 0.15},
                    .random_high = {0.1, 0.95, 0.15},
                    .goal_low = {0.2, 0.65, 0.1499},
                    .goal_high = {0.3, 0.75, 0.1501}};
    return {spec, true, make_sawyer<DoorClose>};
}

}  // namespace ibrl::metaworld
