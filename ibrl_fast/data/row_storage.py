"""The buffer's memory: one preallocated tensor per column, on the device, in pinned memory or on the host."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Storage = Literal["device", "pinned", "host"]
ColumnShapes = Mapping[str, tuple[tuple[int, ...], torch.dtype]]


def column_bytes(shape: Sequence[int], dtype: torch.dtype) -> int:
    """Bytes of a dense tensor."""
    return math.prod(shape) * dtype.itemsize


def available_bytes(device: torch.device) -> int:
    """Bytes that can still be allocated on a CUDA device, or on the host within its cgroup."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    # The kernel's estimate of what is left without swapping.
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    kilobytes = next(line.split()[1] for line in meminfo.splitlines() if line.startswith("MemAvailable:"))
    free = int(kilobytes) * 1024
    # A container's limit may be lower; its file cache can be given up.
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            used = int((group / "memory.current").read_text(encoding="ascii"))
            stat = dict(
                line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines()
            )
            free = min(free, int(limit) - used + int(stat.get("inactive_file", 0)))
    except OSError:
        pass
    return max(free, 0)


def require_memory(needed: Mapping[torch.device, int]) -> None:
    """Raises MemoryError, naming needed and available bytes, where a buffer cannot fit."""
    for device, size in needed.items():
        free = available_bytes(device)
        if size > free:
            raise MemoryError(
                f"replay buffer: expected at most {free} bytes ({free / 2**30:.2f} GiB free on {device}), "
                f"got a need of {size} ({size / 2**30:.2f} GiB); lower capacity or the image size"
            )


class Column:
    """One value per buffer row.

    Attributes:
        tensor: `[rows, ...]`, where samplers read it.
    """

    def __init__(
        self, shape: Sequence[int], dtype: torch.dtype, device: torch.device, *, pinned: bool = False
    ) -> None:
        """Allocates zeros."""
        self.tensor: Tensor = torch.zeros(tuple(shape), dtype=dtype, device=device, pin_memory=pinned)
        # Host memory is written through numpy: a few rows cost a microsecond instead of a dispatcher call.
        self._host: npt.NDArray[Any] | None = self.tensor.numpy() if device.type == "cpu" else None

    def write(
        self, rows: Sequence[int] | slice, values: npt.NDArray[Any], index: Tensor | None = None
    ) -> None:
        """Sets `values` [len(rows), ...], already of this column's dtype, at `rows`.

        `index` are the same rows as a tensor on the column's device, where a caller writes several columns.
        """
        if self._host is not None:
            self._host[rows] = values
            return
        given = torch.from_numpy(np.ascontiguousarray(values)).to(self.tensor.device)
        if isinstance(rows, slice):
            self.tensor[rows].copy_(given)
        else:
            self.tensor.index_copy_(0, row_index(rows, self.tensor.device) if index is None else index, given)

    @property
    def in_host_memory(self) -> bool:
        """Whether the column is written through numpy."""
        return self._host is not None


def row_index(rows: Sequence[int], device: torch.device) -> Tensor:
    """Rows as an index tensor."""
    return torch.tensor(rows, dtype=torch.int64).to(device)


class RowStorage:
    """Named columns over the same rows.

    Attributes:
        columns: name to `Column`.
    """

    def __init__(
        self, shapes: ColumnShapes, *, device: torch.device, storage: Storage, extra_host_bytes: int = 0
    ) -> None:
        """Allocates every column; images go to pinned host memory with `storage="pinned"`.

        `extra_host_bytes` are what the caller allocates beside the columns.

        Errors: MemoryError, naming needed and available bytes, when it cannot fit.
        """
        placed = {
            name: self.placement(dtype, device=device, storage=storage) for name, (_, dtype) in shapes.items()
        }
        needed = {torch.device("cpu"): extra_host_bytes}
        for name, (shape, dtype) in shapes.items():
            needed[placed[name]] = needed.get(placed[name], 0) + column_bytes(shape, dtype)
        require_memory(needed)
        self.columns = {
            name: Column(
                shape, dtype, placed[name], pinned=storage == "pinned" and placed[name].type != device.type
            )
            for name, (shape, dtype) in shapes.items()
        }
        # Pinned frames are read by the device while the host goes on: a write waits for the reads before it.
        self._reads = torch.cuda.Event() if storage == "pinned" else None

    @staticmethod
    def placement(dtype: torch.dtype, *, device: torch.device, storage: Storage) -> torch.device:
        """Where a column lives: all on the device, only images on the host (pinned), or all on the host."""
        on_host = storage == "host" or (storage == "pinned" and dtype == torch.uint8)
        return torch.device("cpu") if on_host else device

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(column_bytes(c.tensor.shape, c.tensor.dtype) for c in self.columns.values())

    def write(self, rows: Sequence[int] | slice, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Sets some columns at `rows`; see `Column.write`."""
        index = None
        for name, value in values.items():
            column = self.columns[name]
            if index is None and not column.in_host_memory and not isinstance(rows, slice):
                index = row_index(rows, column.tensor.device)
            column.write(rows, value, index)

    def wait_for_reads(self) -> None:
        """Returns when no kernel still reads rows that a caller is about to overwrite."""
        if self._reads is not None:
            self._reads.synchronize()

    def mark_read(self) -> None:
        """Notes that kernels reading these columns were put on the current stream."""
        if self._reads is not None:
            self._reads.record()
