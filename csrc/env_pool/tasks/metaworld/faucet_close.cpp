// Turn a faucet's handle to the left. Source: metaworld 3.1.1, SawyerFaucetCloseEnvV3.
#include "env_pool/tasks/metaworld/faucet.h"
#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

class FaucetClose final : public Faucet {
  public:
    FaucetClose(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Faucet(std::move(base), spec, settled, "handleStartClose", "goal_close", -1.0) {}

  protected:
    void place(const double* rv) override {
        Faucet::place(rv);
        forward();
    }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        return turned({obs[4], obs[5], obs[6]}, want_reward);
    }
};

}  // namespace

SawyerTask faucet_close_task() {
    return {faucet_spec(0.1), true, make_sawyer<FaucetClose>};
}

}  // namespace ibrl::metaworld
