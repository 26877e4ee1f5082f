"""Streams, events and pinned memory of one device; on the CPU there are none, and calls run at once.

The one place where the buffer learns whether work is queued or done at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

_T = TypeVar("_T")


class Streams:
    """Streams of the CPU: one queue, always empty. Streams and events are None."""

    asynchronous = False
    """Whether work is queued, so that the host must not touch what it uses."""

    def current(self) -> Any:
        """Return the stream on which the caller's work goes."""
        return None

    def new_stream(self) -> Any:
        """Make a stream of one's own, for short work that need not wait behind the learner's."""
        return None

    def run(self, stream: Any, call: Callable[[], _T]) -> _T:
        """Call with `stream` as the current one and return the result."""
        return call()

    def record(self, stream: Any, event: Any = None) -> Any:
        """Return an event (`event` where given) that happens when all work so far on `stream` is done."""
        return None

    def wait(self, stream: Any, event: Any) -> None:
        """Let later work on `stream` begin after `event`; the host goes on."""

    def finish(self, event: Any) -> None:
        """Return when `event` has happened."""

    def pinned(self, num_bytes: int) -> Tensor:
        """Allocate host memory, uint8 `[num_bytes]`, that the device reads while the host goes on."""
        return torch.empty(num_bytes, dtype=torch.uint8)

    def keep(self, tensors: Iterable[Tensor], stream: Any) -> None:
        """Keep the tensors' memory from new owners until `stream` is done with them."""

    def is_capturing(self) -> bool:
        """Return whether the caller's work goes into a graph instead of being queued."""
        return False


class CudaStreams(Streams):
    """Streams of a CUDA device, on which work is queued.

    Args:
        device: a CUDA device.
    """

    asynchronous = True

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def current(self) -> torch.cuda.Stream:
        """Return PyTorch's current stream of the device."""
        return torch.cuda.current_stream(self._device)

    def new_stream(self) -> torch.cuda.Stream:
        """Make a stream of high priority: its work is short."""
        return torch.cuda.Stream(self._device, priority=-1)

    def run(self, stream: torch.cuda.Stream, call: Callable[[], _T]) -> _T:
        """Call with `stream` as PyTorch's current one and return the result; its work is queued there."""
        with torch.cuda.stream(stream):
            return call()

    def record(self, stream: torch.cuda.Stream, event: torch.cuda.Event | None = None) -> torch.cuda.Event:
        """Queue an event (`event` where given) behind the work on `stream` and return it."""
        event = torch.cuda.Event() if event is None else event
        event.record(stream)
        return event

    def wait(self, stream: torch.cuda.Stream, event: torch.cuda.Event) -> None:
        """Queue a wait for `event` on `stream`."""
        stream.wait_event(event)

    def finish(self, event: torch.cuda.Event) -> None:
        """Keep the host waiting until `event` has happened."""
        event.synchronize()

    def pinned(self, num_bytes: int) -> Tensor:
        """Allocate page-locked host memory, uint8 `[num_bytes]`."""
        return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True)

    def keep(self, tensors: Iterable[Tensor], stream: torch.cuda.Stream) -> None:
        """Tell PyTorch's allocator that `stream` uses the tensors; those of the host are left out."""
        for tensor in tensors:
            if tensor.is_cuda:
                tensor.record_stream(stream)

    def is_capturing(self) -> bool:
        """Return whether the current stream is being captured."""
        return torch.cuda.is_current_stream_capturing()


def streams_of(device: torch.device) -> Streams:
    """Return the streams of a device."""
    return CudaStreams(device) if device.type == "cuda" else Streams()
