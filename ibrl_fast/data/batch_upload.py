"""Batches gathered in host memory on their way to the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ibrl_fast.data.batch import Batch
from ibrl_fast.data.buffer_plan import BufferPlan
from ibrl_fast.data.staging import StagingRing
from ibrl_fast.data.streams import streams_of

# Views of one allocation begin where vector loads are aligned.
_ALIGNMENT = 256


class _Part(NamedTuple):
    """Where a tensor of the batch lies in the packed bytes."""

    begin: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def end(self) -> int:
        return self.begin + math.prod(self.shape) * self.dtype.itemsize


class BatchUpload:
    """The way of batches to the device, through two pinned buffers and a stream of its own.

    One buffer is gathered into while the other is copied. The copy does not wait for what the learner has
    queued, so it runs beside the update before.
    """

    def __init__(self, plan: BufferPlan) -> None:
        self._plan = plan
        self._device = torch.device(plan.device)
        self._streams = streams_of(self._device)
        self._stream = self._streams.new_stream()
        self._ring = StagingRing(self._streams, slots=2)
        self._layouts: dict[int, dict[str, _Part]] = {}

    def send(self, batch_size: int, gather: Callable[[Batch], object]) -> Batch:
        """Let `gather` fill a batch in host memory; return its copy on the device, which is under way."""
        if batch_size not in self._layouts:
            self._layouts[batch_size] = self._make_layout(batch_size)
        layout = self._layouts[batch_size]
        num_bytes = max(part.end for part in layout.values())
        slot = self._ring.take(num_bytes)
        gather(_views(slot.memory, layout))

        # One copy on the side stream; the learner's stream waits for it, the host does not.
        current = self._streams.current()
        copy = self._streams.run(
            self._stream,
            lambda: torch.empty(num_bytes, dtype=torch.uint8, device=self._device).copy_(
                slot.memory[:num_bytes], non_blocking=True
            ),
        )
        self._ring.sent(slot, self._stream)
        self._streams.wait(current, slot.read)
        self._streams.keep([copy], current)
        return _views(copy, layout)

    def _make_layout(self, batch_size: int) -> dict[str, _Part]:
        layout: dict[str, _Part] = {}
        end = 0
        for name, (shape, dtype) in self._plan.batch_shapes(batch_size).items():
            layout[name] = _Part(-(-end // _ALIGNMENT) * _ALIGNMENT, shape, dtype)
            end = layout[name].end
        return layout


def _views(memory: Tensor, layout: dict[str, _Part]) -> Batch:
    """View these bytes as a batch."""
    return Batch.from_tensors(
        {
            name: memory[part.begin : part.end].view(part.dtype).view(part.shape)
            for name, part in layout.items()
        }
    )
