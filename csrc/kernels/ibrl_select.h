// The action to take among proposals: the one that ibrl_target would bootstrap from, copied out.
#pragma once

#include <cstdint>

#include "kernels/choose_proposal.h"

namespace ibrl {

struct IbrlSelectArgs : ProposalValues {
    const void*
        actions;  // [proposals, batch, action_dim], elements of action_bytes bytes, strides in elements
    int64_t action_stride_proposal, action_stride_batch, action_stride_dim;
    int64_t action_dim, action_bytes;  // bytes: 2, 4 or 8
    void* action;                      // [batch, action_dim]
    int64_t* choice;                   // [batch]
};

template <typename Bits>
IBRL_HD inline void copy_action(const IbrlSelectArgs& args, int64_t i, int64_t proposal) {
    const Bits* from = static_cast<const Bits*>(args.actions) + proposal * args.action_stride_proposal +
                       i * args.action_stride_batch;
    Bits* to = static_cast<Bits*>(args.action) + i * args.action_dim;
    for (int64_t a = 0; a < args.action_dim; ++a) to[a] = from[a * args.action_stride_dim];
}

template <typename Q, typename V>
IBRL_HD inline void ibrl_select_one(const IbrlSelectArgs& args, int64_t i) {
    const Choice<V> chosen = choose_proposal<Q, V>(args, i, RandomStream::ibrl_select);
    args.choice[i] = chosen.proposal;
    if (args.action_bytes == 8)
        copy_action<uint64_t>(args, i, chosen.proposal);
    else if (args.action_bytes == 4)
        copy_action<uint32_t>(args, i, chosen.proposal);
    else
        copy_action<uint16_t>(args, i, chosen.proposal);
}

int64_t ibrl_select_cpu(const IbrlSelectArgs& args, int threads);  // index of a bad entry of subset, or -1
void ibrl_select_cuda(const IbrlSelectArgs& args, int device, void* stream);

}  // namespace ibrl
