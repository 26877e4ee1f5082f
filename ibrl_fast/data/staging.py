"""Host memory on its way to a device: a ring of buffers, each filled again once the device has read it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ibrl_fast.data.streams import Streams

_SMALLEST = 1 << 16


class Slot:
    """One buffer of a ring.

    Attributes:
        memory: `[bytes]` uint8, pinned.
        array: the same bytes for numpy.
        read: the event after which the buffer may be filled again; None before its first use.
    """

    def __init__(self, memory: Tensor) -> None:
        self.memory = memory
        self.array: npt.NDArray[np.uint8] = memory.numpy()
        self.read: Any = None


class StagingRing:
    """Buffers used in turn; the host waits only when the device is a whole ring behind."""

    def __init__(self, streams: Streams, slots: int) -> None:
        """Begin with empty buffers; each grows to what is put into it."""
        self._streams = streams
        self._slots = [Slot(streams.pinned(0)) for _ in range(slots)]
        self._next = 0

    def take(self, num_bytes: int) -> Slot:
        """Return the next buffer, with room for `num_bytes`, once it is free to be filled."""
        slot = self._slots[self._next]
        self._next = (self._next + 1) % len(self._slots)
        if slot.read is not None:
            self._streams.finish(slot.read)
        if slot.memory.shape[0] < num_bytes:
            # Room to spare: pinning memory is slow and should be rare.
            room = max(_SMALLEST, 1 << (num_bytes - 1).bit_length())
            read, slot = slot.read, Slot(self._streams.pinned(room))
            slot.read = read
            self._slots[self._next - 1] = slot
        return slot

    def sent(self, slot: Slot, stream: Any) -> None:
        """Note that work on `stream`, queued by now, reads the buffer."""
        slot.read = self._streams.record(stream, slot.read)

    def drain(self) -> None:
        """Wait until the device has read all buffers."""
        for slot in self._slots:
            if slot.read is not None:
                self._streams.finish(slot.read)
