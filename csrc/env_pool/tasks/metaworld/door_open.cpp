// Pull a door open. Source: metaworld 3.1.1, SawyerDoorEnvV3.
#include "env_pool/tasks/metaworld/door.h"

namespace ibrl::metaworld {
namespace {

constexpr double kPi = 3.14159265358979323846;

class DoorOpen final : public Door {
  public:
    DoorOpen(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Door(std::move(base), spec, settled, {-0.3, -0.45, 0.0}, 0.0) {}

  protected:
    void place(const double* rv) override {
        Door::place(rv);
        target_reward_ = 1000 * max_pull_distance_ + 1000 * 2;
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        Evaluation result;
        result.success = std::abs(obs[4] - target_pos_[0]) <= 0.08;
        if (!want_reward) return result;
        if (result.success) {
            result.reward = 10.0;
            return result;
        }

        // Approach the handle from above: a funnel that opens upwards.
        const double door[3] = {obs[4] + -0.05, obs[5], obs[6]};
        const double radius = norm2(obs[0] - door[0], obs[1] - door[1]);
        const double floor = radius <= 0.12 ? 0.0 : 0.04 * std::log(radius - 0.12) + 0.4;
        const double above =
            obs[2] >= floor ? 1.0 : long_tail_tolerance(floor - obs[2], 0.0, 0.01, floor / 2.0);
        const double behind[3] = {obs[0] - door[0] - 0.05, obs[1] - door[1] - 0.03, obs[2] - door[2] - -0.01};
        const double at_handle = long_tail_tolerance(norm3(behind), 0.0, 0.12 / 2.0, 0.5);
        const Scalar ready = hamacher_product(above, at_handle);
        const float effort = (std::min(std::max(action[3], -1.0f), 1.0f) + 1.0f) / 2.0f;

        // The hinge turns backwards, to 120 degrees.
        const double theta = hinge_angle();
        const double opened = 0.2 * (theta < -kPi / 90.0 ? 1.0 : 0.0) +
                              0.8 * long_tail_tolerance(kPi / 2.0 + kPi / 6.0 - -theta, 0.0, 0.5, kPi / 3.0);
        result.reward = 2.0 * hamacher_product(ready, static_cast<double>(effort)).value + 8.0 * opened;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        Door::list_attributes(list);
        list->push_back({"target_reward", &target_reward_, 1, true});
    }

  private:
    double target_reward_ = 0.0;
};

}  // namespace

SawyerTask door_open_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_door_pull.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {0.0, 0.85, 0.15},
                    .random_high = {0.1, 0.95, 0.15},
                    .goal_low = {-0.3, 0.4, 0.1499},
                    .goal_high = {-0.2, 0.5, 0.1501}};
    return {spec, true, make_sawyer<DoorOpen>};
}

}  // namespace ibrl::metaworld
