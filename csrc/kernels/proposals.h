// Which of P proposals to follow, from the values of several critics: the bootstrap target of a critic update
// (ibrl_target) and the action to take (ibrl_select).
// Source: Hu et al., "Imitation Bootstrapped Reinforcement Learning", Algorithm 1 and Eq. 1-4.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/dtype.h"
#include "common/philox.h"

namespace ibrl {

constexpr int kMaxProposals = 8;

struct ProposalValues {
    const void* q;  // [proposals, num_critics, batch], in q_dtype, strides in elements
    DType q_dtype;  // float32, float64 or bfloat16
    int64_t stride_proposal, stride_critic, stride_batch;
    const int64_t* subset;   // [subset_size], critics that the minimum is taken over
    const int64_t* counter;  // [1], not modified
    int64_t seed;
    int64_t proposals, num_critics, batch, subset_size;
    double beta;  // inverse temperature of the draw; unused when greedy
    bool greedy;
};

// Whether an entry of the subset names a critic.
IBRL_HD inline bool is_critic(const ProposalValues& args, int64_t entry) {
    return args.subset[entry] >= 0 && args.subset[entry] < args.num_critics;
}

// V is float for float32 and bfloat16 values, double for float64.
template <typename V>
struct Choice {
    int64_t proposal;
    V value;
};

// a > b with NaN on top, as in torch.argmax: a NaN value is never hidden.
template <typename V>
IBRL_HD inline bool beats(V a, V b) {
    return a > b || (a != a && b == b);
}

// min over the subset for each proposal, then the best one
// (lower index on ties) or a draw from softmax(beta * q).
template <typename Q, typename V>
IBRL_HD inline Choice<V> choose_proposal(const ProposalValues& args, int64_t i, RandomStream stream) {
    const Q* q = static_cast<const Q*>(args.q) + i * args.stride_batch;
    V value[kMaxProposals];
    Choice<V> best{0, 0};
    IBRL_UNROLL
    for (int p = 0; p < kMaxProposals; ++p) {
        if (p >= args.proposals) break;
        V least = convert_from<V>(q[p * args.stride_proposal + args.subset[0] * args.stride_critic]);
        for (int64_t k = 1; k < args.subset_size; ++k) {
            const V critic =
                convert_from<V>(q[p * args.stride_proposal + args.subset[k] * args.stride_critic]);
            if (critic < least || critic != critic) least = critic;
        }
        value[p] = least;
        if (p == 0 || beats(least, best.value)) best = {p, least};
    }
    if (args.greedy) return best;

    // Weights in double, so that CPU and CUDA draw the same;
    // they are not numbers where a value is not finite.
    double weight[kMaxProposals], total = 0.0;
    IBRL_UNROLL
    for (int p = 0; p < kMaxProposals; ++p) {
        if (p >= args.proposals) break;
        weight[p] = exp(args.beta * (static_cast<double>(value[p]) - static_cast<double>(best.value)));
        total += weight[p];
    }
    if (!(total < INFINITY)) return best;

    // The first proposal whose cumulated weight passes a uniform draw.
    const double threshold =
        uniform53(random4(args.seed, *args.counter, stream, static_cast<uint32_t>(i))) * total;
    double cumulated = 0.0;
    Choice<V> drawn = best;
    bool found = false;
    IBRL_UNROLL
    for (int p = 0; p < kMaxProposals; ++p) {
        if (p >= args.proposals) break;
        cumulated += weight[p];
        if (!found && threshold < cumulated) drawn = {p, value[p]}, found = true;
    }
    return drawn;
}

// reward + discount * value of the chosen proposal.
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

// The action of the chosen proposal, copied out.
struct IbrlSelectArgs : ProposalValues {
    const void* actions;  // [proposals, batch, action_dim] of action_bytes bytes each, strides in elements
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
