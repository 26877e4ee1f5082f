// Turn a faucet's handle to the right. Source: metaworld 3.1.1, SawyerFaucetOpenEnvV3.
#include "env_pool/tasks/metaworld/faucet.h"
#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

// The published reset has no forward pass: its frame shows the faucet of the first draw.
class FaucetOpen final : public Faucet {
  public:
    FaucetOpen(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Faucet(std::move(base), spec, settled, "handleStartOpen", "goal_open", 1.0) {}

  protected:
    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        return turned({obs[4] + -0.04, obs[5], obs[6] + 0.03}, want_reward);
    }
};

}  // namespace

SawyerTask faucet_open_task() {
    return {faucet_spec(0.05), false, make_sawyer<FaucetOpen>};
}

}  // namespace ibrl::metaworld
