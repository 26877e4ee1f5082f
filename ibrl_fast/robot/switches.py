"""Emergency stops and dead-man switches: a key, a file or a socket; latched until somebody arms again.

An emergency stop stops when it is operated. A dead-man switch stops when it is not operated for a while.
Nothing here looks at the time of day: what happened when is told by the loop's own clock.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TextIO

from ibrl_fast.errors import user_errors
from ibrl_fast.robot.robot import RobotError

STOP_KEYS = " sq\x1b"
"""Keys that stop: space, s, q, escape."""
RELEASE_KEYS = "r"
"""Keys that release the stop again; motion still needs to be armed."""


class Switch(Protocol):
    """Something that can forbid motion."""

    def check(self, now: float) -> str | None:
        """Say why there must be no motion at a time (s); None where there may be. Never waits."""

    def close(self) -> None:
        """Let go of files, sockets and terminals."""


class _Alive:
    """When a dead-man switch was operated last; it counts as operated at the first look."""

    def __init__(self, within: float | None) -> None:
        self._within = within
        self._seen: float | None = None

    def check(self, is_operated: bool, now: float) -> str | None:
        if self._within is None:
            return None
        if is_operated or self._seen is None:
            self._seen = now
        silent = now - self._seen
        return f"not operated for {silent:.2f} s" if silent > self._within else None


class StopFile:
    """An emergency stop that is operated by making a file (`touch STOP`), released by removing it.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def check(self, now: float) -> str | None:
        """Stop while the file is there, or while that cannot be told."""
        try:
            os.lstat(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"stop file {self._path}: {error.strerror}"
        return f"stop file {self._path}"

    def close(self) -> None:
        """Nothing is open."""


class DeadManFile:
    """A dead-man switch that is operated by changing a file again and again.

    Args:
        path: the file.
        alive_within: longest time between two changes, s.
    """

    def __init__(self, path: str | os.PathLike[str], alive_within: float) -> None:
        self._path = Path(path)
        self._alive = _Alive(alive_within)
        self._content: bytes | None = None

    def check(self, now: float) -> str | None:
        """Stop where the file is not there or was not changed for long."""
        try:
            status = os.stat(self._path)
        except OSError as error:
            return f"dead-man file {self._path}: {error.strerror}"
        content = repr((status.st_ino, status.st_mtime_ns, status.st_size)).encode()
        is_changed, self._content = content != self._content, content
        reason = self._alive.check(is_changed, now)
        return reason and f"dead-man file {self._path}: {reason}"

    def close(self) -> None:
        """Nothing is open."""


class SocketSwitch:
    """A switch at a Unix datagram socket: `stop`, `release`, and `alive` for a dead-man switch.

    Args:
        path: where the socket is made, for its owner alone; what an earlier one left there is replaced.
        alive_within: longest time between two messages other than `stop`, s; None: no dead-man switch.
    """

    def __init__(self, path: str | os.PathLike[str], alive_within: float | None = None) -> None:
        self._path = Path(path)
        self._alive = _Alive(alive_within)
        self._is_stopped = False
        with user_errors(f"switch socket {path}"):
            if self._path.is_socket():
                self._path.unlink()
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.bind(str(self._path))
            self._path.chmod(0o600)

    def check(self, now: float) -> str | None:
        """Read what came, a bounded number of messages."""
        is_operated = False
        with suppress(BlockingIOError):
            for _ in range(1000):
                message = self._socket.recv(64).strip()
                is_operated |= message != b"stop"
                if message in (b"stop", b"release"):
                    self._is_stopped = message == b"stop"
        if self._is_stopped:
            return f"switch socket {self._path}: stop"
        reason = self._alive.check(is_operated, now)
        return reason and f"switch socket {self._path}: {reason}"

    def close(self) -> None:
        """Remove the socket."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


class KeyboardSwitch:
    """A switch at the keyboard: `STOP_KEYS` stop, `RELEASE_KEYS` release; the end of the input stops.

    Args:
        stream: where keys come from; a terminal gives each key at once until `close`.
        alive_within: longest time between two keys (hold one down), s; None: no dead-man switch.
    """

    def __init__(self, stream: TextIO | None = None, alive_within: float | None = None) -> None:
        self._handle = (stream or sys.stdin).fileno()
        self._alive = _Alive(alive_within)
        self._reason: str | None = None
        self._terminal: list[Any] | None = None
        if os.isatty(self._handle):
            import termios
            import tty

            self._terminal = termios.tcgetattr(self._handle)
            tty.setcbreak(self._handle)

    def check(self, now: float) -> str | None:
        """Read the keys that were pressed."""
        keys = ""
        while select.select([self._handle], [], [], 0.0)[0]:
            part = os.read(self._handle, 1024)
            if not part:
                self._reason = "keyboard: end of input"
                break
            keys += part.decode(errors="replace")
        for key in keys:
            if key in STOP_KEYS:
                self._reason = "keyboard: stop"
            elif key in RELEASE_KEYS:
                self._reason = None
        reason = self._alive.check(bool(keys), now)
        return self._reason or (reason and f"keyboard: {reason}")

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._terminal is not None:
            import termios

            termios.tcsetattr(self._handle, termios.TCSADRAIN, self._terminal)
            self._terminal = None


class StopLatch:
    """Keeps the first reason to stop until it is released, whatever the switches say later.

    Args:
        switches: all of which must allow motion.
    """

    def __init__(self, switches: Sequence[Switch] = ()) -> None:
        self._switches = tuple(switches)
        self.reason: str | None = None
        """Why there must be no motion; None where there may be."""

    def __enter__(self) -> StopLatch:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the switches."""
        self.close()

    def check(self, now: float) -> str | None:
        """Ask every switch at a time (s); return the reason that is latched."""
        reasons = [switch.check(now) for switch in self._switches]
        self.reason = self.reason or next(filter(None, reasons), None)
        return self.reason

    def trip(self, reason: str) -> None:
        """Latch a reason that no switch gave."""
        self.reason = self.reason or reason

    def release(self, now: float) -> None:
        """Forget the reason.

        Raises:
            RobotError: a switch still forbids motion.
        """
        for switch in self._switches:
            if (reason := switch.check(now)) is not None:
                self.reason = self.reason or reason
                raise RobotError(f"arm: expected every switch released, got {reason}")
        self.reason = None

    def close(self) -> None:
        """Close every switch."""
        for switch in self._switches:
            switch.close()
