// Turn a faucet's handle to the left. Source: metaworld 3.1.1, SawyerFaucetCloseEnvV3.
#include "env_pool/tasks/metaworld/faucet.h"

namespace ibrl::metaworld {

SawyerTask faucet_close_task() {
    const Faucet::Parts parts{.handle = "handleStartClose",
                              .goal = "goal_close",
                              .side = -1.0,
                              .rewarded = {0.0, 0.0, 0.0},
                              .frame_is_fresh = true};
    return {faucet_spec(0.1), true, make_sawyer_from<Faucet>(parts)};
}

}  // namespace ibrl::metaworld
