// Turn a faucet's handle to the right. Source: metaworld 3.1.1, SawyerFaucetOpenEnvV3.
#include "env_pool/tasks/metaworld/faucet.h"

namespace ibrl::metaworld {

SawyerTask faucet_open_task() {
    const Faucet::Parts parts{.handle = "handleStartOpen",
                              .goal = "goal_open",
                              .side = 1.0,
                              .rewarded = {-0.04, 0.0, 0.03},
                              .frame_is_fresh = false};
    return {faucet_spec(0.05), false, make_sawyer_from<Faucet>(parts)};
}

}  // namespace ibrl::metaworld
