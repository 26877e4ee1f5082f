"""A batch made ahead, on a stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ibrl_fast.data.batch import Batch
from ibrl_fast.data.batch_request import BatchRequest
from ibrl_fast.data.streams import streams_of
from ibrl_fast.errors import ArgumentError


class Prefetch:
    """At most one prepared batch; on the CPU it is made at once, on a device beside the learner's stream."""

    def __init__(self, device: torch.device) -> None:
        """For batches on this device."""
        self._device = device
        self._streams = streams_of(device)
        self._stream = self._streams.new_stream()
        self._request: BatchRequest | None = None
        self._batch: Batch | None = None
        self._ready: Any = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is prepared."""
        return self._request is None

    def put(self, request: BatchRequest, draw: Callable[[], Batch]) -> None:
        """Draws on the side stream.

        Errors: ValueError when a batch is prepared already.
        """
        if self._request is not None:
            raise ArgumentError(f"prefetch: expected a sample of the prepared batch first, got {request}")
        self._batch = self._streams.run(self._stream, draw)
        self._request, self._ready = request, self._streams.record(self._stream, self._ready)

    def take(self, request: BatchRequest) -> Batch:
        """The prepared batch; the current stream waits for it, the host does not.

        Errors: ValueError when another one was asked for.
        """
        if request != self._request:
            raise ArgumentError(f"sample: expected the prepared {self._request}, got {request}")
        batch = self._kept()
        self._request = self._batch = None
        return batch

    def _kept(self) -> Batch:
        """The batch, for use on the current stream."""
        assert self._batch is not None
        current = self._streams.current()
        if self._ready is not None:
            self._streams.wait(current, self._ready)
        self._streams.keep(self._batch.tensors().values(), current)
        return self._batch

    def state(self) -> dict[str, Any]:
        """The prepared batch and its request, on the host; empty when there is none."""
        if self._request is None:
            return {}
        size, fraction = self._request
        return {
            "batch_size": size,
            "demo_fraction": fraction,
            "tensors": {name: tensor.cpu().clone() for name, tensor in self._kept().tensors().items()},
        }

    def restored(self, state: Mapping[str, Any]) -> tuple[BatchRequest, Batch] | None:
        """The request and the batch of what `state` returned, for `load`; changes nothing."""
        if not state:
            return None
        tensors = {name: tensor.detach().clone() for name, tensor in state["tensors"].items()}
        request = BatchRequest(int(state["batch_size"]), state["demo_fraction"])
        return request, Batch.from_tensors(tensors).to(self._device)

    def load(self, prepared: tuple[BatchRequest, Batch] | None) -> None:
        """Puts what `restored` returned in the place of what is prepared."""
        self._request, self._batch = prepared or (None, None)
        if prepared is not None:
            self._ready = self._streams.record(self._streams.current(), self._ready)
