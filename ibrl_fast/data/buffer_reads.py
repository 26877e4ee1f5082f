"""Whose turn it is: a buffer's calls one after the other, and reads that are queued in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ibrl_fast.data.write_queue import WriteQueue


class BufferReads:
    """The lock of a buffer, held by one thread for a call, or from `begin` to `end`.

    Attributes:
        lock: held over every call; re-entrant.
    """

    def __init__(self, writes: WriteQueue) -> None:
        """Announce reads to `writes`."""
        self.lock = threading.RLock()
        self._writes = writes
        # the thread between `begin` and `end`
        self._reader: int | None = None

    def begin(self) -> None:
        """Do what `ReplayBuffer.before_reads` says."""
        self.lock.acquire()
        try:
            self.check_ended("before_reads")
            self._writes.before_reads()
            self._reader = threading.get_ident()
        except BaseException:
            self.lock.release()
            raise

    def end(self) -> None:
        """Do what `ReplayBuffer.after_reads` says."""
        if self._reader != threading.get_ident():
            raise RuntimeError("after_reads: expected before_reads first, in this thread")
        try:
            self._writes.after_reads()
        finally:
            self._reader = None
            self.lock.release()

    @contextmanager
    def around(self) -> Iterator[None]:
        """Begin reads, and end them behind the block, whatever happens in it."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def check_ended(self, what: str) -> None:
        """Raise RuntimeError inside reads, whose end is not known yet; the caller holds the lock."""
        if self._reader is not None:
            raise RuntimeError(f"{what}: expected after_reads first, got reads under way")
