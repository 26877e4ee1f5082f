"""Ctrl-C and SIGTERM as a wish to stop, so that a run can save a checkpoint first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
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
        """Return what unwinds the stack where there is nothing to save."""
        return Terminated() if self.number == signal.SIGTERM else KeyboardInterrupt()


Handler = Callable[[int, FrameType | None], None]


@contextmanager
def taken_signals() -> Iterator[Callable[[Handler], None]]:
    """Yield what sets the handler of Ctrl-C and SIGTERM; the handlers before come back at the end.

    A signal that the process was told to ignore stays ignored, as does one whose handler Python cannot put
    back. Outside the main thread, which alone may set handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda handler: None
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    taken = [number for number, handler in previous.items() if handler not in (signal.SIG_IGN, None)]

    def handle(handler: Handler) -> None:
        for number in taken:
            signal.signal(number, handler)

    try:
        yield handle
    finally:
        for number in taken:
            signal.signal(number, previous[number])


@contextmanager
def stop_on_signals(stop: StopWish) -> Iterator[None]:
    """Ctrl-C and SIGTERM set `stop`; a second one unwinds at once (see `taken_signals`)."""

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise stop.error()
        stop.set(number)

    with taken_signals() as handle:
        handle(ask)
        yield
