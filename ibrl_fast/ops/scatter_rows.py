"""Rows of several tensors written at once, from one packed buffer: how new steps reach the replay buffer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ibrl_fast import _core
from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops._registry import register
from ibrl_fast.ops.checks import check_integer, check_list, check_stored, check_tensor

MAX_SCATTERS = 24  # kMaxScatters in csrc/kernels/replay_rows.h
ALIGNMENT = 16


class Scatter(NamedTuple):
    """One target and where its rows and values lie in the packed buffer.

    Attributes:
        target: `[rows, ...]`, contiguous, on the device or (with the others on CUDA) in pinned host memory.
        rows_at: byte at which the row indices int64 `[num_rows]` begin, a multiple of 16; no row twice, also
            where another scatter has the same target.
        values_at: byte at which the values `[num_rows, ...]` of the target's dtype begin, a multiple of 16.
        num_rows: how many rows.
    """

    target: Tensor
    rows_at: int
    values_at: int
    num_rows: int


def scatter_rows_reference(packed: Tensor, scatters: Sequence[Scatter]) -> None:
    """Reference implementation: one indexed write for each target."""
    for target, rows_at, values_at, count in scatters:
        rows = packed[rows_at : rows_at + 8 * count].view(torch.int64)
        values = packed[values_at : values_at + count * _row_bytes(target)].view(target.dtype)
        target[rows.to(target.device)] = values.view(count, *target.shape[1:]).to(target.device)


def scatter_rows(packed: Tensor, scatters: Sequence[Scatter]) -> None:
    """Write `target[rows[i]] = values[i]` for every target, in one pass for up to 24 of them.

    Args:
        packed: uint8 `[bytes]`, contiguous and 16-byte aligned, with the rows and values of all targets; on
            the targets' device or, with targets on CUDA, in pinned host memory, which the kernel reads
            directly (it must stay as it is until the kernel has run). No target overlaps it.
        scatters: the targets; on CUDA at least one of them in device memory.

    Raises:
        ValueError: a wrong shape, dtype, device or place.
        TypeError: something that is no tensor, number or `Scatter`.
        IndexError: on the CPU, where rows are out of range (on CUDA a device assertion).
    """
    for s, scatter in enumerate(check_list("scatters", scatters)):
        if not isinstance(scatter, Scatter):
            raise TypeError(f"scatters[{s}]: expected a Scatter, got {type(scatter).__name__}")
        check_tensor(f"scatters[{s}].target", scatter.target, getattr(scatter.target, "shape", ()))
    if not scatters:
        raise ArgumentError("scatters: expected at least one target, got none")
    # Targets on the device come first: the first one names it.
    scatters = sorted(scatters, key=lambda each: each.target.device.type == "cpu")
    device = scatters[0].target.device
    check_stored("packed", packed, (torch.uint8,), device, ("bytes",))
    if not packed.is_contiguous():
        raise ArgumentError(f"packed: expected contiguous bytes, got strides {packed.stride()}")
    for s, (target, rows_at, values_at, num_rows) in enumerate(scatters):
        if target.dim() == 0 or not target.is_contiguous():
            raise ArgumentError(f"scatters[{s}].target: expected a contiguous tensor [N, ...], got another")
        if target.device != device:
            check_stored(f"scatters[{s}].target", target, (target.dtype,), device, target.shape)
        for name, number in (("rows_at", rows_at), ("values_at", values_at)):
            check_integer(f"scatters[{s}].{name}", number, 0)
        check_integer(f"scatters[{s}].num_rows", num_rows, 0)
        rows_end, values_end = rows_at + 8 * num_rows, values_at + num_rows * _row_bytes(target)
        for name, at, end in (("rows_at", rows_at, rows_end), ("values_at", values_at, values_end)):
            if at % ALIGNMENT or not 0 <= at <= end <= packed.shape[0]:
                raise ArgumentError(
                    f"scatters[{s}].{name}: expected a multiple of {ALIGNMENT} with {end - at} bytes after "
                    f"it in {packed.shape[0]}, got {at}"
                )
    for first in range(0, len(scatters), MAX_SCATTERS):
        part = [list(field) for field in zip(*scatters[first : first + MAX_SCATTERS])]
        _scatter_rows(scatters[0].target, packed, *part)


def row_setter(target: Tensor) -> Callable[[Sequence[int] | npt.NDArray[np.int64], npt.ArrayLike], None]:
    """Return what sets rows of `target` `[rows, ...]` to values on the host, at once, one tensor at a time.

    Through numpy in CPU memory, where a few rows then cost a microsecond instead of a dispatcher call.
    """
    if target.device.type == "cpu":
        array = target.numpy()

        def set_rows_here(rows: Sequence[int] | npt.NDArray[np.int64], values: npt.ArrayLike) -> None:
            # one environment's step sets one row of every column: numpy is slow where it is given a list
            if len(rows) == 1:
                array[rows[0], ...] = values
            else:
                array[rows] = values

        return set_rows_here

    def set_rows(rows: Sequence[int] | npt.NDArray[np.int64], values: npt.ArrayLike) -> None:
        given = torch.as_tensor(np.asarray(values), dtype=target.dtype, device=target.device)
        target[torch.as_tensor(np.asarray(rows, dtype=np.int64), device=target.device)] = given

    return set_rows


def _row_bytes(target: Tensor) -> int:
    return target.nbytes // max(1, target.shape[0])


def _fields(
    on: Tensor,
    packed: Tensor,
    targets: list[Tensor],
    rows_at: list[int],
    values_at: list[int],
    counts: list[int],
) -> _core.ScatterRowsFields:
    base = packed.data_ptr()
    if base % ALIGNMENT:
        raise ArgumentError(f"packed: expected an address that is a multiple of {ALIGNMENT}, got {base}")
    addresses = [target.data_ptr() for target in targets]
    for target, address in zip(targets, addresses):
        if address < base + packed.nbytes and base < address + target.nbytes:
            raise ArgumentError("packed: expected memory of its own, got a tensor that overlaps a target")
    return {
        "rows": [base + at for at in rows_at],
        "values": [base + at for at in values_at],
        "target": addresses,
        "num_rows": [target.shape[0] for target in targets],
        "row_bytes": [_row_bytes(target) for target in targets],
        "count": counts,
    }


_scatter_rows = register(
    "scatter_rows",
    "Tensor on, Tensor packed, Tensor(a!)[] targets, int[] rows_at, int[] values_at, int[] counts",
    _fields,
)
