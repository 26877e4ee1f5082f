// Turn a door's lock down. Source: metaworld 3.1.1, SawyerDoorLockEnvV3.
#include "env_pool/tasks/metaworld/lock.h"

namespace ibrl::metaworld {
namespace {

class DoorLock final : public Lock {
  public:
    DoorLock(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Lock(std::move(base), spec, settled, "lockStartLock", {0.0, -0.04, -0.1}) {}

  protected:
    void update_lock() override { substeps(kFrameSkip); }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* lock = obs + 4;
        const double left = std::abs(target_pos_[2] - lock[2]);
        Evaluation result;
        result.success = left <= 0.02;
        if (!want_reward) return result;

        // An open gripper whose left pad is at the lock. The published margin is the pad's present distance.
        const double* pad = body_position(left_pad_);
        double error[3];
        for (int i = 0; i < 3; ++i) error[i] = (lock[i] - pad[i]) * kScale[i];
        const double distance = norm3(error);
        const double near = long_tail_tolerance(distance, 0.0, 0.01, distance);
        const double locked = long_tail_tolerance(left, 0.0, 0.005, kLockLength);
        result.reward = 2.0 * hamacher_product(obs[3], near).value + 8.0 * locked;
        return result;
    }
};

}  // namespace

SawyerTask door_lock_task() {
    return {lock_spec({-0.5, 0.40, -0.15}, {0.5, 1.0, 0.5}), false, make_sawyer<DoorLock>};
}

}  // namespace ibrl::metaworld
