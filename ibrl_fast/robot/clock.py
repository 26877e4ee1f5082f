"""The clock of a control loop: monotonic, so that a change of the day's time changes nothing; or a test's."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since some moment, which never go back."""

    def now(self) -> float:
        """Return the time, s."""

    def sleep(self, seconds: float) -> None:
        """Return after that long; at once where it is no more than 0."""


class MonotonicClock:
    """The system's monotonic clock."""

    def now(self) -> float:
        """Return the time, s."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait that long."""
        if seconds > 0.0:
            time.sleep(seconds)


class ManualClock:
    """A clock that goes on when told to, or when somebody sleeps: runs repeat to the last bit.

    Args:
        start: its first time, s.
    """

    def __init__(self, start: float = 100.0) -> None:
        self._now = start

    def now(self) -> float:
        """Return the time, s."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Go on by that much at once."""
        self._now += max(0.0, seconds)


def sleep_until(clock: Clock, deadline: float) -> float:
    """Wait for a moment; return how late it is then, s."""
    while (left := deadline - clock.now()) > 0.0:
        clock.sleep(left)
    return clock.now() - deadline
