"""The buffer's memory: one preallocated tensor per column, on the device, in pinned memory or on the host."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from ibrl_fast.data.streams import streams_of
from ibrl_fast.data.write_queue import make_write_queue
from ibrl_fast.memory import available_host_bytes

Storage = Literal["device", "pinned", "host"]
ColumnShapes = Mapping[str, tuple[tuple[int, ...], torch.dtype]]


def column_bytes(shape: Sequence[int], dtype: torch.dtype) -> int:
    """Count the bytes of a dense tensor."""
    return math.prod(shape) * dtype.itemsize


def available_bytes(device: torch.device) -> int:
    """Count the bytes that can still be allocated on a CUDA device, or on the host within its cgroup."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_host_bytes()


def require_memory(needed: Mapping[torch.device, int]) -> None:
    """Raise MemoryError, naming needed and available bytes, where a buffer cannot fit."""
    for device, size in needed.items():
        free = available_bytes(device)
        if size > free:
            raise MemoryError(
                f"replay buffer: expected at most {free} bytes ({free / 2**30:.2f} GiB free on {device}), "
                f"got a need of {size} ({size / 2**30:.2f} GiB); lower capacity or the image size"
            )


class RowStorage:
    """Named columns over the same rows.

    Attributes:
        tensors: name to column `[rows, ...]`, where samplers read it.
        writes: the way to change them.
    """

    def __init__(
        self, shapes: ColumnShapes, *, device: torch.device, storage: Storage, extra_host_bytes: int = 0
    ) -> None:
        """Allocate every column; no row holds a step yet.

        Args:
            shapes: shape `[rows, ...]` and dtype of every column, by name.
            device: where batches are wanted.
            storage: `pinned` puts images into pinned host memory, `host` all columns into host memory.
            extra_host_bytes: what the caller allocates beside the columns.

        Raises:
            MemoryError: it cannot fit; the message names needed and available bytes.
        """
        placed = {
            name: self.placement(dtype, device=device, storage=storage) for name, (_, dtype) in shapes.items()
        }
        needed = {torch.device("cpu"): extra_host_bytes}
        for name, (shape, dtype) in shapes.items():
            needed[placed[name]] = needed.get(placed[name], 0) + column_bytes(shape, dtype)
        require_memory(needed)
        self.tensors: dict[str, Tensor] = {
            name: torch.zeros(
                shape,
                dtype=dtype,
                device=placed[name],
                pin_memory=storage == "pinned" and placed[name].type != device.type,
            )
            for name, (shape, dtype) in shapes.items()
        }
        self.tensors["is_tail"].fill_(1)
        self.writes = make_write_queue(
            self.tensors, self.tensors["is_tail"].shape[0], streams_of(self.tensors["is_tail"].device)
        )

    @staticmethod
    def placement(dtype: torch.dtype, *, device: torch.device, storage: Storage) -> torch.device:
        """Say where a column lives: all on the device, images on the host (pinned), or all on the host."""
        on_host = storage == "host" or (storage == "pinned" and dtype == torch.uint8)
        return torch.device("cpu") if on_host else device

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(column_bytes(tensor.shape, tensor.dtype) for tensor in self.tensors.values())
