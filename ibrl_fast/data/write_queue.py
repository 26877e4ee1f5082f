"""How new steps reach the buffer's columns: at once in host memory, beside the learner's work on a device.

On a device nobody waits for anybody, because writes come in two kinds:

- *Data* (observations, actions, rewards, flags, proposals) go into rows that no queued read can reach. A read
  starts at a row of the table, goes forward to its episode's tail at most, and takes from the tail the
  observation and the proposals alone; back, it stops at the episode's first row. A new step writes the tail's
  action, reward and flags and the row behind it: neither is read before the step is published. So data are
  written on a stream of their own, at any time, while reads run.
- What is *published* (`is_tail`, `table`, `counts`) is what reads start from and stop at. It stays on the
  host until the next read is queued, and is then written on that read's own stream, in front of it: behind
  all earlier reads, which run one after the other, and behind the data (an event).

Rows of evicted episodes are the exception: reads queued before the eviction was published may still reach
them. Each row remembers the number of the last read that may (`retire`), and a write into such rows waits on
the device for that read. Rows are evicted about one episode before the ring comes round to them, so that read
is almost always long done. The host itself waits only when the device is a whole staging ring behind.
"""

from __future__ import annotations

import itertools
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ibrl_fast import ops
from ibrl_fast.data.staging import Slot, StagingRing
from ibrl_fast.data.streams import Streams
from ibrl_fast.ops.scatter_rows import ALIGNMENT, Scatter, row_setter

Rows = Sequence[int] | npt.NDArray[np.int64]
Values = Mapping[str, npt.NDArray[Any]]
Group = tuple[Rows, Values]

# Appends and publications that may be on their way at a time, and finished reads that are told apart.
_WRITE_SLOTS, _PUBLICATION_SLOTS, _READS_KEPT = 4, 8, 16


class WriteQueue:
    """Columns that nothing queued reads, as in host memory: every write takes place at once.

    Callers hold a lock over every call, and from `before_reads` to `after_reads`.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        """Write to these columns `[rows, ...]`, by name."""
        self._set = {name: row_setter(tensor) for name, tensor in tensors.items()}

    def retire(self, first: int, stop: int) -> None:
        """Note that the rows from `first` to before `stop` were evicted."""

    def write(self, groups: Sequence[Group]) -> None:
        """Set data columns: per group its rows, and per column values `[rows, ...]` of the column's dtype."""
        for rows, values in groups:
            for name, value in values.items():
                self._set[name](rows, value)

    def publish(self, name: str, rows: Rows, values: npt.ArrayLike) -> None:
        """Set a published column's values `[rows]`, or one value for all of them, for the reads to come."""
        self._set[name](rows, values)

    def before_reads(self) -> None:
        """Let reads queued from now on, on the current stream, see all writes."""

    def after_reads(self) -> None:
        """End what `before_reads` began: the reads are queued."""

    def finish(self) -> None:
        """Wait until all writes and earlier reads have happened; called inside reads."""

    def replace(self) -> None:
        """Forget what was retired: the caller has put other values into every row; called inside reads."""


class DeviceWriteQueue(WriteQueue):
    """Columns that a device reads: writes are packed into one staging buffer and scattered by one kernel."""

    def __init__(self, tensors: Mapping[str, Tensor], num_rows: int, streams: Streams) -> None:
        """Write to these columns `[rows, ...]`, already filled by work on the current stream."""
        self._tensors, self._streams = tensors, streams

        # The columns' dtypes, and host memory that data and what is published are packed into.
        self._dtypes = {
            name: np.dtype(str(tensor.dtype).removeprefix("torch.")) for name, tensor in tensors.items()
        }
        self._staging = StagingRing(streams, _WRITE_SLOTS)
        self._publications = StagingRing(streams, _PUBLICATION_SLOTS)
        # Published values by column and row, for the next read; later ones replace earlier ones.
        self._pending: dict[str, dict[int, Any]] = {}

        # Reads are numbered, each with the event that ends it; number 0 is the work that filled the columns.
        # Per row: the last read that may still reach it.
        self._reader, self._writer = streams.current(), streams.new_stream()
        self._reads = deque([(0, streams.record(self._reader))])
        self._number = 0
        self._last_read: npt.NDArray[np.int64] = np.zeros(num_rows, dtype=np.int64)

        # The read that the writer has waited for, and the event of writes that no read has waited for.
        self._waited = 0
        streams.wait(self._writer, self._reads[0][1])
        self._unseen: Any = None

        # Memory outlives this object until the device is done with it.
        streams.keep(tensors.values(), self._writer)
        weakref.finalize(
            self, _drain, streams, (self._staging, self._publications), self._reads
        ).atexit = False

    def retire(self, first: int, stop: int) -> None:
        """Remember the newest read, which may reach these rows; later ones cannot."""
        self._last_read[first:stop] = self._number

    def write(self, groups: Sequence[Group]) -> None:
        """Queue one copy on the writer's stream, behind the reads that may reach the rows."""
        # Wait, on the device, for the last of these reads, unless an earlier write has.
        groups = [(np.asarray(rows, dtype=np.int64), values) for rows, values in groups]
        needed = max(int(self._last_read[rows].max(initial=0)) for rows, _ in groups)
        if needed > self._waited:
            self._waited, event = next(read for read in self._reads if read[0] >= needed)
            self._streams.wait(self._writer, event)

        # The next read waits for this copy.
        self._unseen = self._send(self._writer, self._staging, groups).read

    def publish(self, name: str, rows: Rows, values: npt.ArrayLike) -> None:
        """Keep the values for the next read."""
        pending = self._pending.setdefault(name, {})
        numbers = itertools.repeat(values) if isinstance(values, int) else np.asarray(values).tolist()
        pending.update(zip(rows if isinstance(rows, list) else np.asarray(rows).tolist(), numbers))

    def before_reads(self) -> None:
        """Let the current stream wait for reads elsewhere and for writes, then queue the publication."""
        current = self._streams.current()
        if self._streams.is_capturing():
            raise RuntimeError(
                "before_reads: expected a stream that is not being captured; capture `draw` alone, and call "
                "before_reads and after_reads around every replay"
            )

        # Reads run one after the other, whatever streams they are on, and behind all data.
        if current != self._reader:
            self._streams.wait(current, self._reads[-1][1])
            self._reader = current
        if self._unseen is not None:
            self._streams.wait(current, self._unseen)
            self._unseen = None

        # What is published goes in front of this read.
        if self._pending:
            groups = [
                (
                    np.fromiter(values.keys(), np.int64, len(values)),
                    {name: np.fromiter(values.values(), self._dtypes[name], len(values))},
                )
                for name, values in self._pending.items()
            ]
            self._send(current, self._publications, groups)
            self._pending.clear()
        self._number += 1

    def after_reads(self) -> None:
        """Record the event that writes into evicted rows wait for."""
        spare = self._reads.popleft()[1] if len(self._reads) == _READS_KEPT else None
        self._reads.append((self._number, self._streams.record(self._reader, spare)))

    def finish(self) -> None:
        """Wait for writes, for the publication of the reads that have begun, and for the reads before."""
        self._staging.drain()
        self._publications.drain()
        self._streams.finish(self._reads[-1][1])

    def replace(self) -> None:
        """Let every write wait for the current stream's work so far, and publish nothing old."""
        self._pending.clear()
        self._last_read.fill(self._number)

    def _send(self, stream: Any, ring: StagingRing, groups: Sequence[Group]) -> Slot:
        """Pack rows and values into a staging buffer and queue the kernel that writes them."""
        # Where each piece lies: a group's rows once, then its values, column by column.
        pieces: list[tuple[int, npt.NDArray[Any]]] = []
        scatters: list[Scatter] = []
        end = 0

        def place(array: npt.NDArray[Any]) -> int:
            nonlocal end
            at = end
            pieces.append((at, array))
            end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
            return at

        for rows, values in groups:
            rows_at = place(np.asarray(rows))
            for name, value in values.items():
                scatters.append(
                    Scatter(self._tensors[name], rows_at, place(np.ascontiguousarray(value)), len(rows))
                )

        # Packed here, read by the kernel there; the ring keeps the buffer until it was.
        slot = ring.take(end)
        for at, array in pieces:
            slot.array[at : at + array.nbytes] = array.reshape(-1).view(np.uint8)
        self._streams.run(stream, partial(ops.scatter_rows, slot.memory, scatters))
        ring.sent(slot, stream)
        return slot


def _drain(streams: Streams, rings: Sequence[StagingRing], reads: deque[tuple[int, Any]]) -> None:
    # A dropped buffer's pinned memory finds new owners at once: the device must be done with it.
    for ring in rings:
        ring.drain()
    streams.finish(reads[-1][1])


def make_write_queue(tensors: Mapping[str, Tensor], num_rows: int, streams: Streams) -> WriteQueue:
    """Make the queue that fits where the columns `[rows, ...]` are read."""
    return DeviceWriteQueue(tensors, num_rows, streams) if streams.asynchronous else WriteQueue(tensors)
