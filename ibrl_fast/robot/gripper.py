"""Grippers are slow: one thread talks to one, and the newest command is the only one that counts."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ibrl_fast.errors import expect, first_line
from ibrl_fast.robot.clock import Clock, MonotonicClock
from ibrl_fast.robot.robot import RobotError

_CLOSE_SECONDS = 3.0


class Gripper(Protocol):
    """A gripper; each call may take tens of milliseconds. Errors are of the class `RobotError`."""

    def connect(self) -> float:
        """Make it ready (it may open and close); return its largest width, m."""

    def width(self) -> float:
        """Measure the distance between the fingers, m."""

    def is_ready(self) -> bool:
        """Whether `move` would be heard now, not only once the last motion has ended."""

    def move(self, width: float) -> None:
        """Start to go to a width, m."""

    def stop(self) -> None:
        """Stop moving."""

    def close(self) -> None:
        """Let go of the connection."""


@dataclass(frozen=True)
class GripperState:
    """What is known of a gripper."""

    width: float
    """As measured last, m."""
    target: float
    """As commanded last, m."""
    time: float
    """When it was measured, s."""


class GripperThread:
    """Talks to a gripper in a thread of its own; everything here returns at once.

    Args:
        gripper: not connected yet.
        clock: of the time stamps.
        pause: rest between two measurements, s.
    """

    def __init__(self, gripper: Gripper, clock: Clock | None = None, *, pause: float = 0.01) -> None:
        expect(pause >= 0.0, "pause", ">= 0 s", pause)
        self.max_width = 0.0
        """Largest width, m; known once it runs."""
        self._gripper, self._clock, self._pause = gripper, clock or MonotonicClock(), pause
        self._lock = threading.Lock()
        self._wish = threading.Event()
        self._command: float | None = None
        self._is_stop = False
        self._state = GripperState(0.0, 0.0, -1e9)
        self._error: RobotError | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Connect, measure once, and go on in a thread."""
        self.max_width = self._gripper.connect()
        width = self._gripper.width()
        self._state = GripperState(width, width, self._clock.now())
        self._thread = threading.Thread(target=self._run, name="gripper", daemon=True)
        self._thread.start()

    def state(self) -> GripperState:
        """Return what was measured last; its time says when that was.

        Raises:
            RobotError: the thread has ended by an error of the gripper.
        """
        with self._lock:
            if self._error is not None:
                raise RobotError(f"gripper: {first_line(self._error)}") from self._error
            return self._state

    def move(self, width: float) -> None:
        """Go to a width, m; replaces a command that was not sent yet."""
        with self._lock:
            self._command, self._is_stop = width, False
            self._state = GripperState(self._state.width, width, self._state.time)

    def stop(self) -> None:
        """Stop moving; commands that were not sent yet never are."""
        with self._lock:
            self._command, self._is_stop = None, True

    def close(self) -> None:
        """End the thread and let go; a gripper that does not answer is waited for a few seconds only."""
        self._wish.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)
            self._thread = None
        self._gripper.close()

    def step(self) -> None:
        """Send the newest command, if there is one, and measure: what the thread does again and again."""
        is_ready = self._gripper.is_ready()
        with self._lock:
            command, is_stop = self._command, self._is_stop
            self._command, self._is_stop = None if is_ready else command, False
        if is_stop:
            self._gripper.stop()
        elif command is not None and is_ready:
            self._gripper.move(command)
        width = self._gripper.width()
        now = self._clock.now()
        with self._lock:
            self._state = GripperState(width, self._state.target, now)

    def _run(self) -> None:
        try:
            while not self._wish.wait(self._pause):
                self.step()
        except RobotError as error:
            with self._lock:
                self._error = error
        finally:
            with suppress(RobotError):
                self._gripper.stop()
