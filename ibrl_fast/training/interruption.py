"""Ctrl-C and SIGTERM as a wish to stop, so that a run can save a checkpoint first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM came; unwinds like Ctrl-C."""


class StopWish:
    """Whether a run should stop, and which signal asked for it.

    Attributes:
        number: the signal; SIGINT where a program asked by `set`.
    """

    def __init__(self) -> None:
        self.number = signal.SIGINT
        self._event = threading.Event()

    def is_set(self) -> bool:
        """Whether to stop."""
        return self._event.is_set()

    def set(self, number: int = signal.SIGINT) -> None:
        """Asks to stop at the next step."""
        self.number = signal.Signals(number)
        self._event.set()

    def error(self) -> KeyboardInterrupt:
        """What unwinds the stack where there is nothing to save."""
        return Terminated() if self.number == signal.SIGTERM else KeyboardInterrupt()


@contextmanager
def stop_on_signals(stop: StopWish) -> Iterator[None]:
    """Ctrl-C and SIGTERM set `stop`; a second one unwinds at once. The handlers before come back at the end.

    Outside the main thread, which alone may change signal handlers, nothing is changed; neither is a signal
    that this process was told to ignore.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise stop.error()
        stop.set(number)

    previous = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, handler in previous.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, ask)
        yield
    finally:
        for number, handler in previous.items():
            # None: set by something else than Python, which cannot be put back
            if handler is not None:
                signal.signal(number, handler)
