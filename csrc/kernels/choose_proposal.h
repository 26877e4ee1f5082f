// Which of P proposals to follow, from an ensemble's values: shared by ibrl_target and ibrl_select.
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

// min over the subset for each proposal, then the best one (lower index on ties) or a draw from softmax(beta
// * q).
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

    // Weights in double, so that CPU and CUDA draw the same; they are not numbers where a value is not
    // finite.
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

}  // namespace ibrl
