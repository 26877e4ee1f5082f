"""n-step returns from rows in episode order."""

from __future__ import annotations

import torch
from torch import Tensor

from ibrl_fast import _core
from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops._registry import register
from ibrl_fast.ops.checks import check_apart, check_integer, check_list, check_number, check_out, check_tensor

_FLAGS = (torch.bool, torch.uint8)


def nstep_return_reference(
    reward: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    is_tail: Tensor,
    rows: Tensor,
    *,
    nstep: int,
    gamma: float,
    bootstrap_on_truncation: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Reference implementation: all rows at once, one step of the sum at a time."""
    total = torch.zeros(rows.shape, dtype=reward.dtype, device=reward.device)
    factor, going, row = torch.ones_like(total), torch.ones_like(rows, dtype=torch.bool), rows.clone()
    ended = torch.zeros_like(going)
    for _ in range(nstep):
        stops = terminated[row].bool() | truncated[row].bool()
        cuts = terminated[row].bool() | (stops & (not bootstrap_on_truncation))
        total = torch.where(going, total + factor * reward[row], total)
        factor = torch.where(going, factor * gamma, factor)
        ended, row = ended | (going & cuts), torch.where(going, row + 1, row)
        going = going & ~stops & ~is_tail[row].bool()
    return total, torch.where(ended, 0.0, factor), row


def nstep_return(
    reward: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    is_tail: Tensor,
    rows: Tensor,
    *,
    nstep: int,
    gamma: float,
    bootstrap_on_truncation: bool = True,
    out: tuple[Tensor, Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the n-step reward, the bootstrap discount and the row to bootstrap from.

    Step t of an episode lies in row r and its successor in row r + 1; every episode, also one still running,
    ends with a tail row that holds only an observation. With m the number of steps taken, at most `nstep`
    and cut short by a terminated or truncated step or by the tail: `reward = sum_{k<m} gamma^k r[row + k]`,
    `next_row = row + m` and `discount = gamma^m`, or 0 where the last step terminated (or was truncated,
    without `bootstrap_on_truncation`).

    Args:
        reward: float32 or float64 `[num_rows]`, of one step.
        terminated: bool or uint8 `[num_rows]`, the episode ended for good: no bootstrap.
        truncated: bool or uint8 `[num_rows]`, a time limit ended the episode.
        is_tail: bool or uint8 `[num_rows]`, set where a row holds no step; the last row of the storage is
            one.
        rows: int64 `[batch]`, rows that hold a step.
        nstep: most steps of a sum, at least 1.
        gamma: discount per step, in [0, 1].
        bootstrap_on_truncation: whether a time limit keeps the bootstrap.
        out: (reward `[batch]`, discount `[batch]`, next_row int64 `[batch]`) to write into, the first two of
            reward's dtype, each apart from everything else.

    Returns:
        (reward `[batch]`, discount `[batch]`, next_row int64 `[batch]`).

    Raises:
        ValueError: a wrong shape, dtype, device or value.
        TypeError: something that is no tensor or number.
        IndexError: on the CPU, where rows are out of range or name a tail (on CUDA a device assertion).
    """
    check_tensor("reward", reward, ("num_rows",), (torch.float32, torch.float64))
    num_rows, device = reward.shape[0], reward.device
    for name, flags in (("terminated", terminated), ("truncated", truncated), ("is_tail", is_tail)):
        check_tensor(name, flags, (num_rows,), _FLAGS, device)
    for name, stored in (
        ("reward", reward),
        ("terminated", terminated),
        ("truncated", truncated),
        ("is_tail", is_tail),
    ):
        if not stored.is_contiguous():
            raise ArgumentError(f"{name}: expected a contiguous tensor, got strides {tuple(stored.stride())}")
    check_tensor("rows", rows, ("batch",), (torch.int64,), device)
    nstep, gamma = check_integer("nstep", nstep, 1), check_number("gamma", gamma)
    if not 0.0 <= gamma <= 1.0:
        raise ArgumentError(f"gamma: expected a value in [0, 1], got {gamma}")
    batch = rows.shape[0]
    if out is None:
        out = (
            torch.empty(batch, dtype=reward.dtype, device=device),
            torch.empty(batch, dtype=reward.dtype, device=device),
            torch.empty(batch, dtype=torch.int64, device=device),
        )
    else:
        dtypes = (reward.dtype, reward.dtype, torch.int64)
        for name, tensor, dtype in zip(("reward", "discount", "next_row"), check_list("out", out, 3), dtypes):
            check_out(f"out {name}", tensor, (batch,), dtype, device)
        check_apart("out", out, (reward, terminated, truncated, is_tail, rows))
    _nstep_return(
        reward, terminated, truncated, is_tail, rows.contiguous(), nstep, gamma, bootstrap_on_truncation, *out
    )
    return out


def _fields(
    reward: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    is_tail: Tensor,
    rows: Tensor,
    nstep: int,
    gamma: float,
    bootstrap_on_truncation: bool,
    nstep_reward: Tensor,
    discount: Tensor,
    next_row: Tensor,
) -> _core.NstepReturnFields:
    return {
        "reward": reward.data_ptr(),
        "terminated": terminated.data_ptr(),
        "truncated": truncated.data_ptr(),
        "is_tail": is_tail.data_ptr(),
        "rows": rows.data_ptr(),
        "nstep_reward": nstep_reward.data_ptr(),
        "discount": discount.data_ptr(),
        "next_row": next_row.data_ptr(),
        "num_rows": reward.shape[0],
        "batch": rows.shape[0],
        "nstep": nstep,
        "gamma": gamma,
        "bootstrap_on_truncation": bootstrap_on_truncation,
        "is_float64": reward.dtype == torch.float64,
    }


_nstep_return = register(
    "nstep_return",
    "Tensor reward, Tensor terminated, Tensor truncated, Tensor is_tail, Tensor rows, int nstep, "
    "float gamma, bool bootstrap_on_truncation, Tensor(a!) nstep_reward, Tensor(b!) discount, "
    "Tensor(c!) next_row",
    _fields,
)
