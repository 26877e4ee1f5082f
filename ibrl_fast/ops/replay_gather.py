"""Batches of stored vectors: several sources, stacked and converted in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ibrl_fast import _core
from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops._registry import DTYPE_CODES, address_of, register
from ibrl_fast.ops.checks import (
    MAX_COUNT,
    check_apart,
    check_integer,
    check_list,
    check_out,
    check_rows,
    check_stored,
    check_tensor,
)

MAX_SOURCES = 16  # kMaxGathers in csrc/kernels/replay_rows.h
_OUT_DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def stacked_rows_reference(rows: Tensor, episode_step: Tensor | None, stack: int) -> Tensor:
    """Return int64 `[batch, stack]`: the rows of stacks, newest first, an episode's first row repeated."""
    if stack == 1:
        return rows[:, None]
    assert episode_step is not None
    back = torch.arange(stack, device=rows.device)[None, :]
    return rows[:, None] - torch.minimum(back, episode_step[rows].long()[:, None])


def replay_gather_reference(
    source: Tensor,
    rows: Tensor,
    episode_step: Tensor | None,
    *,
    stack: int = 1,
    out_dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Reference implementation for one source: index, stack along the first feature axis, convert."""
    batch = source[stacked_rows_reference(rows, episode_step, stack)]
    batch = batch.flatten(1, 2) if source.dim() > 1 else batch.reshape(_out_shape(source, rows, stack))
    return batch.to(out_dtype)


def replay_gather(
    sources: Sequence[Tensor],
    rows: Tensor | Sequence[Tensor],
    episode_step: Tensor | None = None,
    *,
    stacks: int | Sequence[int] = 1,
    out_dtype: torch.dtype = torch.float32,
    out: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Gather rows of up to 16 sources in one pass, with frame stacks and conversion.

    With stack k, entry b of a source's batch is `source[row], source[row - 1], ..` (k of them, newest
    first, the episode's first row repeated) side by side along the first feature axis.

    Args:
        sources: floating point `[num_rows, features, ...]` or `[num_rows]`, features contiguous; the number
            of rows may differ between sources. With rows on CUDA a source may also lie in pinned host memory,
            which the kernel reads directly.
        rows: int64 `[batch]`, for all sources or one tensor for each.
        episode_step: int32 `[num_rows]`, contiguous, steps since the episode's first row, which lies in the
            storage; needed for stacks above 1.
        stacks: entries of a stack, at least 1, for all sources or one for each.
        out_dtype: float32, float64 or bfloat16.
        out: one contiguous tensor for each source to write into, apart from everything else.

    Returns:
        For each source `[batch, stack * features, ...]` of out_dtype, or `[batch]` for a source `[num_rows]`
        that is not stacked.

    Raises:
        ValueError: a wrong shape, dtype, device or number of arguments.
        TypeError: something that is no tensor or number.
        IndexError: on the CPU, where rows are out of range, or go back past the first one by their
            episode_step (on CUDA a device assertion, before anything is read).
    """
    sources = check_list("sources", sources)
    if not 1 <= len(sources) <= MAX_SOURCES:
        raise ArgumentError(f"sources: expected 1 to {MAX_SOURCES} tensors, got {len(sources)}")
    all_rows = [rows] * len(sources) if isinstance(rows, Tensor) else check_list("rows", rows)
    several = isinstance(stacks, (list, tuple))
    all_stacks: list[Any] = check_list("stacks", stacks) if several else [stacks] * len(sources)
    if out is not None:
        out = check_list("out", out)
    for name, given in (("rows", all_rows), ("stacks", all_stacks), ("out", out)):
        if given is not None and len(given) != len(sources):
            raise ArgumentError(
                f"{name}: expected {len(sources)} entries, one for each source, got {len(given)}"
            )
    if out_dtype not in _OUT_DTYPES:
        raise ArgumentError(f"out_dtype: expected float32, float64 or bfloat16, got {out_dtype}")

    # what each source must look like
    check_rows("rows", all_rows[0])
    device, batch = all_rows[0].device, all_rows[0].shape[0]
    for s, (source, source_rows, stack) in enumerate(zip(sources, all_rows, all_stacks)):
        if source_rows is not all_rows[s - 1]:
            check_tensor(f"rows[{s}]", source_rows, (batch,), (torch.int64,), device)
        check_stored(f"sources[{s}]", source, tuple(DTYPE_CODES), device)
        all_stacks[s] = stack = check_integer(f"stacks[{s}]", stack, 1)
        if stack > 1:
            check_episode_step(episode_step, source.shape[0], device, f"stacks[{s}] = {stack}")
        if batch * stack * math.prod(source.shape[1:]) > MAX_COUNT:
            raise ArgumentError(f"sources[{s}]: expected a batch of fewer than 2**31 elements")

    shapes = [_out_shape(*each) for each in zip(sources, all_rows, all_stacks)]
    if out is None:
        out = [torch.empty(shape, dtype=out_dtype, device=device) for shape in shapes]
    else:
        for s, (tensor, shape) in enumerate(zip(out, shapes)):
            check_out(f"out[{s}]", tensor, shape, out_dtype, device)
        check_apart("out", out, [*sources, *all_rows, episode_step])
    _replay_gather(list(sources), [r.contiguous() for r in all_rows], episode_step, all_stacks, list(out))
    return list(out)


def check_episode_step(
    episode_step: Tensor | None, num_rows: int, device: torch.device, needed_for: str
) -> None:
    """Check that episode_step is int32 `[num_rows]`, contiguous, and where the kernel can read it.

    Args:
        episode_step: what was given.
        num_rows: rows of the storage.
        device: where the kernel runs.
        needed_for: what asks for it, in the error where it is missing.

    Raises:
        ValueError: it is missing or another.
    """
    if episode_step is None:
        raise ArgumentError(f"episode_step: expected int32 [{num_rows}] for {needed_for}, got None")
    check_stored("episode_step", episode_step, (torch.int32,), device, (num_rows,))
    if not episode_step.is_contiguous():
        raise ArgumentError(
            f"episode_step: expected a contiguous tensor, got strides {tuple(episode_step.stride())}"
        )


def bad_step(name: str, row: int, episode_step: Tensor | None, num_rows: int) -> Exception | None:
    """Make the error where a row lies in the storage and its episode's first row does not; else None."""
    if episode_step is None or not 0 <= row < num_rows or 0 <= int(episode_step[row]) <= row:
        return None
    return IndexError(f"{name}: episode_step: expected 0 to {row} in row {row}, got {int(episode_step[row])}")


def _explain(
    bad: int,
    sources: list[Tensor],
    rows: list[Tensor],
    episode_step: Tensor | None,
    stacks: list[int],
    outs: list[Tensor],
) -> Exception | None:
    for source, source_rows, stack in zip(sources, rows, stacks):
        step = episode_step if stack > 1 else None
        error = bad_step("replay_gather", int(source_rows[bad]), step, source.shape[0])
        if error is not None:
            return error
    return None


def _out_shape(source: Tensor, rows: Tensor, stack: int) -> tuple[int, ...]:
    if source.dim() == 1:
        return (rows.shape[0],) if stack == 1 else (rows.shape[0], stack)
    return (rows.shape[0], stack * source.shape[1], *source.shape[2:])


def _fields(
    sources: list[Tensor],
    rows: list[Tensor],
    episode_step: Tensor | None,
    stacks: list[int],
    outs: list[Tensor],
) -> _core.ReplayGatherFields:
    batch = rows[0].shape[0]
    return {
        "source": [source.data_ptr() for source in sources],
        "rows": [each.data_ptr() for each in rows],
        "out": [out.data_ptr() for out in outs],
        "num_rows": [source.shape[0] for source in sources],
        "row_stride": [source.stride(0) for source in sources],
        "features": [out.numel() // max(1, batch * stack) for out, stack in zip(outs, stacks)],
        "stack": stacks,
        "source_dtype": [DTYPE_CODES[source.dtype] for source in sources],
        "out_dtype": [DTYPE_CODES[out.dtype] for out in outs],
        "episode_step": address_of(episode_step),
        "batch": batch,
    }


_replay_gather = register(
    "replay_gather",
    "Tensor[] sources, Tensor[] rows, Tensor? episode_step, int[] stacks, Tensor(a!)[] outs",
    _fields,
    device_of=1,
    explain=_explain,
)
