"""What `ibrl_target` and `ibrl_select` share: the choice between proposals, its reference, argument checks.

Source: Hu et al., "Imitation Bootstrapped Reinforcement Learning", Algorithm 1 and Eq. 1-4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ibrl_fast import _core
from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops import _philox as philox
from ibrl_fast.ops._registry import DTYPE_CODES
from ibrl_fast.ops.checks import MAX_COUNT, check_list, check_number, check_out, check_tensor

MAX_PROPOSALS, MAX_CRITICS = 8, 16
_Q_DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def choose_proposal_reference(
    q: Tensor, subset: Tensor, *, beta: float | None, seed: int, counter: int, stream: int
) -> tuple[Tensor, Tensor]:
    """Reference implementation: min over the subset, then argmax or a draw from softmax(beta * value).

    Args:
        q: `[proposals, num_critics, batch]`.
        subset: int64 `[subset_size]`.
        beta: inverse temperature of the draw; None for the best proposal.
        seed: key of the random stream.
        counter: position in the random stream.
        stream: the op's own random stream, one of `_philox`.

    Returns:
        (value `[batch]`, choice int64 `[batch]`) of the proposal that is followed.
    """
    values = q[:, subset].to(value_dtype(q)).amin(dim=1)
    best, choice = values.max(dim=0).values, values.argmax(dim=0)
    if beta is not None:
        weight = torch.exp(beta * (values.double() - best.double()))
        cumulated = weight.cumsum(dim=0)
        uniform = philox.uniform53(philox.random4(seed, counter, stream, q.shape[2])).to(q.device)
        drawn = (uniform * cumulated[-1] < cumulated).int().argmax(dim=0)
        choice = torch.where(cumulated[-1].isfinite(), drawn, choice)
    return values.gather(0, choice[None])[0], choice


def value_dtype(q: Tensor) -> torch.dtype:
    """Return the dtype of values, rewards and targets: float32, or float64 where q is."""
    return torch.float64 if q.dtype == torch.float64 else torch.float32


def check_values(q: Tensor, subset: Tensor, beta: float | None) -> None:
    """Check what both ops are given.

    Args:
        q: float32, float64 or bfloat16 `[proposals, num_critics, batch]`.
        subset: int64 `[subset_size]` on q's device.
        beta: a finite number of at least 0, or None.

    Raises:
        ValueError: a wrong shape, dtype, device or value.
        TypeError: something that is no tensor or number.
    """
    check_tensor("q", q, ("proposals", "num_critics", "batch"), _Q_DTYPES)
    proposals, num_critics, batch = q.shape
    if not 1 <= proposals <= MAX_PROPOSALS:
        raise ArgumentError(f"q: expected 1 to {MAX_PROPOSALS} proposals, got {proposals}")
    if not 1 <= num_critics <= MAX_CRITICS:
        raise ArgumentError(f"q: expected 1 to {MAX_CRITICS} critics, got {num_critics}")
    if batch > MAX_COUNT:
        raise ArgumentError(f"q: expected a batch of fewer than 2**31, got {batch}")
    check_tensor("subset", subset, ("subset_size",), (torch.int64,), q.device)
    if not 1 <= subset.shape[0] <= num_critics:
        raise ArgumentError(f"subset: expected 1 to {num_critics} critics, got {subset.shape[0]}")
    if beta is not None and not (math.isfinite(check_number("beta", beta)) and beta >= 0.0):
        raise ArgumentError(f"beta: expected a finite number of at least 0 or None, got {beta}")


def outputs(
    out: tuple[Tensor, Tensor] | None, name: str, shape: tuple[int, ...], dtype: torch.dtype, q: Tensor
) -> tuple[Tensor, Tensor]:
    """Check `out`, or make it: what is called `name`, of this shape and dtype, and choice int64 `[batch]`."""
    batch, device = q.shape[2], q.device
    if out is None:
        choice = torch.empty(batch, dtype=torch.int64, device=device)
        return torch.empty(shape, dtype=dtype, device=device), choice
    check_list("out", out, 2)
    check_out(f"out {name}", out[0], shape, dtype, device)
    check_out("out choice", out[1], (batch,), torch.int64, device)
    return out


def proposal_fields(
    q: Tensor, subset: Tensor, beta: float | None, seed: int, counter: Tensor
) -> _core.ProposalFields:
    """Make the fields of ProposalValues in csrc/kernels/proposals.h."""
    proposals, num_critics, batch = q.shape
    stride_proposal, stride_critic, stride_batch = q.stride()
    return {
        "q": q.data_ptr(),
        "q_dtype": DTYPE_CODES[q.dtype],
        "stride_proposal": stride_proposal,
        "stride_critic": stride_critic,
        "stride_batch": stride_batch,
        "subset": subset.data_ptr(),
        "counter": counter.data_ptr(),
        "seed": seed,
        "proposals": proposals,
        "num_critics": num_critics,
        "batch": batch,
        "subset_size": subset.shape[0],
        "beta": beta or 0.0,
        "greedy": beta is None,
    }


def no_critic(subset: Tensor, bad: int, q: Tensor) -> IndexError:
    """Make the error for entry `bad` of the subset, which names no critic of q."""
    return IndexError(f"subset: expected critics 0 to {q.shape[1] - 1}, got {int(subset[bad])}")
