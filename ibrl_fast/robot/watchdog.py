"""What stops a robot whose client has gone silent: first it holds, then it is stopped."""

from __future__ import annotations

import threading
from typing import Literal

from ibrl_fast.errors import expect

Action = Literal["hold", "stop"]


class Watchdog:
    """Counts the time since the last valid command; thread-safe, without a clock of its own.

    It watches from a command on; a hold that was asked for, a stop or a reset gives it rest.

    Args:
        hold_after: silence after which the robot holds, s.
        stop_after: silence after which it is stopped, s.
    """

    def __init__(self, hold_after: float = 0.3, stop_after: float = 1.0) -> None:
        expect(0.0 < hold_after < stop_after, "hold_after", "> 0 s and less than stop_after", hold_after)
        self._limits = hold_after, stop_after
        self._lock = threading.Lock()
        self._fed: float | None = None
        self._level = 0

    def feed(self, now: float) -> None:
        """Note a valid command at a time, s."""
        with self._lock:
            self._fed, self._level = now, 0

    def rest(self) -> None:
        """Stop watching until the next command."""
        with self._lock:
            self._fed, self._level = None, 0

    def check(self, now: float) -> Action | None:
        """Return what must be done now: a hold once in a silence, a stop until `rest` is called."""
        with self._lock:
            if self._fed is None:
                return None
            silent = now - self._fed
            hold_after, stop_after = self._limits
            if silent > stop_after:
                return "stop"
            if silent > hold_after and self._level == 0:
                self._level = 1
                return "hold"
            return None
