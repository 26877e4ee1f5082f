"""What ibrl_target and ibrl_select share: the choice between proposals, its reference, argument checks.

Source: Hu et al., "Imitation Bootstrapped Reinforcement Learning", Algorithm 1 and Eq. 1-4.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops import philox
from ibrl_fast.ops._registry import DTYPE_CODES, MAX_COUNT, check_list, check_number, check_out, check_tensor

MAX_PROPOSALS, MAX_ENSEMBLE = 8, 16
_Q_DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def choose_proposal_reference(
    q: Tensor, subset: Tensor, *, beta: float | None, seed: int, counter: int, stream: int
) -> tuple[Tensor, Tensor]:
    """(value [B], choice [B]): min over the subset, then argmax or a draw from softmax(beta * value)."""
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
    """Values, rewards and targets are float32, or float64 where q is."""
    return torch.float64 if q.dtype == torch.float64 else torch.float32


def check_values(q: Tensor, subset: Tensor, beta: float | None) -> None:
    """Checks q [P, E, B], subset [K] and beta."""
    check_tensor("q", q, ("P", "E", "B"), _Q_DTYPES)
    proposals, ensemble, batch = q.shape
    if not 1 <= proposals <= MAX_PROPOSALS:
        raise ArgumentError(f"q: expected 1 to {MAX_PROPOSALS} proposals, got {proposals}")
    if not 1 <= ensemble <= MAX_ENSEMBLE:
        raise ArgumentError(f"q: expected 1 to {MAX_ENSEMBLE} critics, got {ensemble}")
    if batch > MAX_COUNT:
        raise ArgumentError(f"q: expected a batch of fewer than 2**31, got {batch}")
    check_tensor("subset", subset, ("K",), (torch.int64,), q.device)
    if not 1 <= subset.shape[0] <= ensemble:
        raise ArgumentError(f"subset: expected 1 to {ensemble} critics, got {subset.shape[0]}")
    if beta is not None and not (math.isfinite(check_number("beta", beta)) and beta >= 0.0):
        raise ArgumentError(f"beta: expected a finite number of at least 0 or None, got {beta}")


def outputs(
    out: tuple[Tensor, Tensor] | None, name: str, shape: tuple[int, ...], dtype: torch.dtype, q: Tensor
) -> tuple[Tensor, Tensor]:
    """`out` checked, or new tensors: what is `name`d, of this shape and dtype, and choice int64 [B]."""
    batch, device = q.shape[2], q.device
    if out is None:
        choice = torch.empty(batch, dtype=torch.int64, device=device)
        return torch.empty(shape, dtype=dtype, device=device), choice
    check_list("out", out, 2)
    check_out(f"out {name}", out[0], shape, dtype, device)
    check_out("out choice", out[1], (batch,), torch.int64, device)
    return out


def value_arguments(
    q: Tensor, subset: Tensor, beta: float | None, seed: int, counter: Tensor
) -> tuple[Any, ...]:
    """The fields of ProposalValues in csrc/kernels/choose_proposal.h, in their order."""
    # members can be checked where they are read; on CUDA the kernel asserts
    if subset.device.type == "cpu":
        wrong = [member for member in subset.tolist() if not 0 <= member < q.shape[1]]
        if wrong:
            raise IndexError(f"subset: expected critics 0 to {q.shape[1] - 1}, got {wrong[0]}")
    addresses = (subset.data_ptr(), counter.data_ptr())
    sizes = (*q.shape, subset.shape[0])
    return (
        q.data_ptr(),
        DTYPE_CODES[q.dtype],
        *q.stride(),
        *addresses,
        seed,
        *sizes,
        beta or 0.0,
        beta is None,
    )
