"""Choice of the action to take among proposals."""

from __future__ import annotations

import torch
from torch import Tensor

from ibrl_fast import _core
from ibrl_fast.ops import _philox as philox
from ibrl_fast.ops._proposals import (
    check_values,
    choose_proposal_reference,
    no_critic,
    outputs,
    proposal_fields,
)
from ibrl_fast.ops._registry import register
from ibrl_fast.ops.checks import MIN_INT64, as_counter, check_apart, check_integer, check_tensor

_ACTION_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def ibrl_select_reference(
    q: Tensor,
    actions: Tensor,
    subset: Tensor,
    *,
    beta: float | None = None,
    seed: int = 0,
    counter: int = 0,
) -> tuple[Tensor, Tensor]:
    """Reference implementation: the chosen proposal's action for each entry."""
    _, choice = choose_proposal_reference(
        q, subset, beta=beta, seed=seed, counter=counter, stream=philox.IBRL_SELECT
    )
    return actions[choice, torch.arange(actions.shape[1], device=actions.device)], choice


def ibrl_select(
    q: Tensor,
    actions: Tensor,
    subset: Tensor,
    *,
    beta: float | None = None,
    seed: int = 0,
    counter: Tensor | int = 0,
    out: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Take the action of the proposal with the best `min_{k in subset} q[p, k]`, or of one drawn by softmax.

    No gradient flows through it. Source: IBRL Algorithm 1, Eq. 1 (greedy) and Eq. 3 (soft).

    Args:
        q: float32, float64 or bfloat16 `[proposals, num_critics, batch]`, the critics' values of 1 to 8
            proposals by 1 to 16 critics, any strides.
        actions: floating point `[proposals, batch, action_dim]`, any strides.
        subset: int64 `[subset_size]`, the critics that the minimum is taken over.
        beta: inverse temperature of softmax(beta * value); None takes the best proposal, the lower index on
            ties.
        seed: key of the random stream, used with beta.
        counter: position in the random stream, an int or int64 `[1]` on q's device; not modified.
        out: (action, choice) to write into, each apart from everything else.

    Returns:
        (action `[batch, action_dim]` of actions' dtype, choice int64 `[batch]`: index of the chosen
        proposal).

    Raises:
        ValueError: a wrong shape, dtype, device or value.
        TypeError: something that is no tensor or number.
        IndexError: on the CPU, a subset that names no critic (on CUDA a device assertion).
    """
    check_values(q, subset, beta)
    proposals, _, batch = q.shape
    device = q.device
    check_tensor("actions", actions, (proposals, batch, "action_dim"), _ACTION_DTYPES, device)
    seed, counter = check_integer("seed", seed, MIN_INT64), as_counter(counter, device)
    given, out = out, outputs(out, "action", (batch, actions.shape[2]), actions.dtype, q)
    if given is not None:
        check_apart("out", out, (q, actions, subset, counter))
    q, actions = (x.detach() if x.requires_grad else x for x in (q, actions))
    _ibrl_select(q, actions, subset.contiguous(), beta, seed, counter, *out)
    return out


def _fields(
    q: Tensor,
    actions: Tensor,
    subset: Tensor,
    beta: float | None,
    seed: int,
    counter: Tensor,
    action: Tensor,
    choice: Tensor,
) -> _core.IbrlSelectFields:
    stride_proposal, stride_batch, stride_dim = actions.stride()
    return {
        **proposal_fields(q, subset, beta, seed, counter),
        "actions": actions.data_ptr(),
        "action_stride_proposal": stride_proposal,
        "action_stride_batch": stride_batch,
        "action_stride_dim": stride_dim,
        "action_dim": actions.shape[2],
        "action_bytes": actions.element_size(),
        "action": action.data_ptr(),
        "choice": choice.data_ptr(),
    }


def _explain(bad: int, q: Tensor, actions: Tensor, subset: Tensor, *_: object) -> Exception:
    return no_critic(subset, bad, q)


_ibrl_select = register(
    "ibrl_select",
    "Tensor q, Tensor actions, Tensor subset, float? beta, int seed, Tensor counter, "
    "Tensor(a!) action, Tensor(b!) choice",
    _fields,
    explain=_explain,
)
