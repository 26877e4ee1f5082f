// Bootstrap target of a critic update: reward + discount * value of the chosen proposal.
#pragma once

#include <cstdint>

#include "kernels/choose_proposal.h"

namespace ibrl {

struct IbrlTargetArgs : ProposalValues {
    const void* reward;    // [batch] V: double where q is float64, otherwise float
    const void* discount;  // [batch] V
    int64_t reward_stride, discount_stride;
    void* target;     // [batch] V
    int64_t* choice;  // [batch], index of the chosen proposal
};

template <typename Q, typename V>
IBRL_HD inline void ibrl_target_one(const IbrlTargetArgs& args, int64_t i) {
    const Choice<V> chosen = choose_proposal<Q, V>(args, i, RandomStream::ibrl_target);
    const V reward = static_cast<const V*>(args.reward)[i * args.reward_stride];
    const V discount = static_cast<const V*>(args.discount)[i * args.discount_stride];
    static_cast<V*>(args.target)[i] = multiply_then_add(discount, chosen.value, reward);
    args.choice[i] = chosen.proposal;
}

int64_t ibrl_target_cpu(const IbrlTargetArgs& args, int threads);  // index of a bad entry of subset, or -1
void ibrl_target_cuda(const IbrlTargetArgs& args, int device, void* stream);

}  // namespace ibrl
