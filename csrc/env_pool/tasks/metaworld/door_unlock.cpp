// Turn a door's lock sideways. Source: metaworld 3.1.1, SawyerDoorUnlockEnvV3.
#include "env_pool/tasks/metaworld/lock.h"

namespace ibrl::metaworld {
namespace {

constexpr Vec3 kShoulder = {0.0, 0.055, 0.07};  // m from the hand to what pushes the lock

class DoorUnlock final : public Lock {
  public:
    DoorUnlock(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Lock(std::move(base), spec, settled, "lockStartUnlock", {0.1, -0.04, 0.0}) {}

  protected:
    void update_lock() override {
        const double locked = 1.5708;
        set_positions(kArmJoints, &locked, 1, kArmJoints, 1);
    }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* lock = obs + 4;
        const double left = std::abs(target_pos_[0] - lock[0]);
        Evaluation result;
        result.success = left <= 0.02;
        if (!want_reward) return result;

        // The shoulder at the lock, judged against its start's distance to where the lever is now.
        double error[3], start[3];
        for (int i = 0; i < 3; ++i) {
            error[i] = (obs[i] + kShoulder[i] - lock[i]) * kScale[i];
            start[i] = (init_tcp_[i] + kShoulder[i] - lever()[i]) * kScale[i];
        }
        const double ready = long_tail_tolerance(norm3(error), 0.0, 0.02, norm3(start));
        const double pushed = long_tail_tolerance(left, 0.0, 0.005, kLockLength);
        result.reward = 2.0 * ready + 8.0 * pushed;
        return result;
    }
};

}  // namespace

SawyerTask door_unlock_task() {
    return {lock_spec({0.0, 0.64, 0.21}, {0.2, 0.7, 0.2111}), false, make_sawyer<DoorUnlock>};
}

}  // namespace ibrl::metaworld
