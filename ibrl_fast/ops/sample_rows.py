"""Uniform draws with replacement from the valid rows of a replay buffer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ibrl_fast import _core
from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops import _philox as philox
from ibrl_fast.ops._registry import register
from ibrl_fast.ops.checks import (
    MAX_COUNT,
    MIN_INT64,
    as_counter,
    check_apart,
    check_integer,
    check_out,
    check_tensor,
)


def sample_rows_reference(table: Tensor, size: int, batch_size: int, *, seed: int, counter: int) -> Tensor:
    """Reference implementation, drawing on the CPU: `table[uniform_below(random words, size)]`."""
    words = philox.random4(seed, counter, philox.SAMPLE_ROWS, batch_size)
    return table[philox.uniform_below(words, size).to(table.device)]


def sample_rows(
    table: Tensor,
    size: Tensor | int,
    batch_size: int,
    *,
    seed: int,
    counter: Tensor | int,
    begin: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Draw `batch_size` entries of `table[begin : begin + size]`, uniformly and with replacement.

    Args:
        table: int64 `[capacity]`, contiguous, capacity below 2**31.
        size: how many entries are valid, at least 1: an int, or int64 `[1]` on the table's device (read by
            the kernel, so that a captured CUDA graph follows a growing buffer).
        batch_size: number of draws, below 2**31.
        seed: key of the random stream.
        counter: position in the random stream, an int or int64 `[1]` on the table's device; not modified.
        begin: int64 `[1]` on the table's device, the first valid entry; None for 0.
        out: int64 `[batch_size]` to write into, contiguous and apart from everything else.

    Returns:
        The drawn entries, int64 `[batch_size]`.

    Raises:
        ValueError: a wrong shape, dtype or device, an empty table, or a size outside 1 .. capacity (where
            it lies in CUDA memory, a device assertion before anything is read).
        TypeError: something that is no tensor or number.
    """
    check_tensor("table", table, ("capacity",), (torch.int64,))
    if not table.is_contiguous():
        raise ArgumentError(f"table: expected a contiguous tensor, got strides {tuple(table.stride())}")
    capacity = table.shape[0]
    if not 0 < capacity < 2**31:
        raise ArgumentError(f"table: expected 1 to 2**31 - 1 entries, got {capacity}")
    if isinstance(size, Tensor):
        check_tensor("size", size, (1,), (torch.int64,), table.device)
    else:
        size = check_integer("size", size, 1, capacity)
        size = torch.full((1,), size, dtype=torch.int64, device=table.device)
    if begin is not None:
        check_tensor("begin", begin, (1,), (torch.int64,), table.device)
    batch_size = check_integer("batch_size", batch_size, 0)
    if batch_size > MAX_COUNT:
        raise ArgumentError(f"batch_size: expected fewer than 2**31, got {batch_size}")
    seed, counter = check_integer("seed", seed, MIN_INT64), as_counter(counter, table.device)
    if out is None:
        out = torch.empty(batch_size, dtype=torch.int64, device=table.device)
    else:
        check_out("out", out, (batch_size,), torch.int64, table.device)
        check_apart("out", (out,), (table, size, begin, counter))
    _sample_rows(table, size, begin, counter, seed, out)
    return out


def _fields(
    table: Tensor, size: Tensor, begin: Tensor | None, counter: Tensor, seed: int, rows: Tensor
) -> _core.SampleRowsFields:
    return {
        "table": table.data_ptr(),
        "size": size.data_ptr(),
        "begin": 0 if begin is None else begin.data_ptr(),
        "counter": counter.data_ptr(),
        "seed": seed,
        "rows": rows.data_ptr(),
        "batch": rows.shape[0],
        "capacity": table.shape[0],
    }


def _explain(bad: int, table: Tensor, size: Tensor, begin: Tensor | None, *_: Any) -> Exception:
    first = 0 if begin is None else int(begin.item())
    if not 0 <= first < table.shape[0]:
        return ArgumentError(f"begin: expected 0 to {table.shape[0] - 1}, got {first}")
    return ArgumentError(f"size: expected 1 to {table.shape[0] - first}, got {size.item()}")


_sample_rows = register(
    "sample_rows",
    "Tensor table, Tensor size, Tensor? begin, Tensor counter, int seed, Tensor(a!) rows",
    _fields,
    explain=_explain,
)
