"""Bootstrap targets of the critic update."""

from __future__ import annotations

from torch import Tensor

from ibrl_fast import _core
from ibrl_fast.ops import _philox as philox
from ibrl_fast.ops._proposals import (
    check_values,
    choose_proposal_reference,
    no_critic,
    outputs,
    proposal_fields,
    value_dtype,
)
from ibrl_fast.ops._registry import register
from ibrl_fast.ops.checks import MIN_INT64, as_counter, check_apart, check_integer, check_tensor


def ibrl_target_reference(
    q: Tensor,
    reward: Tensor,
    discount: Tensor,
    subset: Tensor,
    *,
    beta: float | None = None,
    seed: int = 0,
    counter: int = 0,
) -> tuple[Tensor, Tensor]:
    """Reference implementation: `reward + discount * value of the chosen proposal`."""
    value, choice = choose_proposal_reference(
        q, subset, beta=beta, seed=seed, counter=counter, stream=philox.IBRL_TARGET
    )
    return reward + discount * value, choice


def ibrl_target(
    q: Tensor,
    reward: Tensor,
    discount: Tensor,
    subset: Tensor,
    *,
    beta: float | None = None,
    seed: int = 0,
    counter: Tensor | int = 0,
    out: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute `reward + discount * max_p min_{k in subset} q[p, k]`, or with a softmax draw for the max.

    No gradient flows through it. A NaN in q reaches the target. Source: IBRL Algorithm 1, Eq. 2 (greedy) and
    Eq. 4 (soft).

    Args:
        q: float32, float64 or bfloat16 `[proposals, num_critics, batch]`, the target critics' values of 1 to
            8 proposals by 1 to 16 critics, any strides.
        reward: float32 (float64 where q is) `[batch]`, n-step sum of rewards.
        discount: as reward `[batch]`, 0 where the bootstrap ends.
        subset: int64 `[subset_size]`, the critics that the minimum is taken over.
        beta: inverse temperature of softmax(beta * value); None takes the best proposal, the lower index on
            ties.
        seed: key of the random stream, used with beta.
        counter: position in the random stream, an int or int64 `[1]` on q's device; not modified.
        out: (target, choice) to write into, each apart from everything else.

    Returns:
        (target `[batch]` of reward's dtype, choice int64 `[batch]`: index of the chosen proposal).

    Raises:
        ValueError: a wrong shape, dtype, device or value.
        TypeError: something that is no tensor or number.
        IndexError: on the CPU, a subset that names no critic (on CUDA a device assertion).
    """
    check_values(q, subset, beta)
    batch, dtype, device = q.shape[2], value_dtype(q), q.device
    check_tensor("reward", reward, (batch,), (dtype,), device)
    check_tensor("discount", discount, (batch,), (dtype,), device)
    seed, counter = check_integer("seed", seed, MIN_INT64), as_counter(counter, device)
    given, out = out, outputs(out, "target", (batch,), dtype, q)
    if given is not None:
        check_apart("out", out, (q, reward, discount, subset, counter))
    q, reward, discount = (x.detach() if x.requires_grad else x for x in (q, reward, discount))
    _ibrl_target(q, reward, discount, subset.contiguous(), beta, seed, counter, *out)
    return out


def _fields(
    q: Tensor,
    reward: Tensor,
    discount: Tensor,
    subset: Tensor,
    beta: float | None,
    seed: int,
    counter: Tensor,
    target: Tensor,
    choice: Tensor,
) -> _core.IbrlTargetFields:
    return {
        **proposal_fields(q, subset, beta, seed, counter),
        "reward": reward.data_ptr(),
        "discount": discount.data_ptr(),
        "reward_stride": reward.stride(0),
        "discount_stride": discount.stride(0),
        "target": target.data_ptr(),
        "choice": choice.data_ptr(),
    }


def _explain(bad: int, q: Tensor, reward: Tensor, discount: Tensor, subset: Tensor, *_: object) -> Exception:
    return no_critic(subset, bad, q)


_ibrl_target = register(
    "ibrl_target",
    "Tensor q, Tensor reward, Tensor discount, Tensor subset, float? beta, int seed, Tensor counter, "
    "Tensor(a!) target, Tensor(b!) choice",
    _fields,
    explain=_explain,
)
