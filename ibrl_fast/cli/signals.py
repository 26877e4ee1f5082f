"""Ctrl-C and SIGTERM end a command with exit status 130 or 143 and one line, whatever it is doing."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ibrl_fast.training.interruption import SIGNALS, Terminated

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def end_interrupted(error: KeyboardInterrupt) -> None:
    """Print which signal came, and exit with the shell's number for it."""
    number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
    print(f"ibrl-fast: {_WORDS[number]}", file=sys.stderr)
    sys.exit(128 + number)


@contextmanager
def ended_by_signals() -> Iterator[Callable[[], None]]:
    """Handle Ctrl-C and SIGTERM until the block ends; what was set before comes back then.

    At first a signal ends the process on the spot: nothing was begun, and libraries that are being imported
    may swallow an exception. Once the yielded function is called, signals raise KeyboardInterrupt or
    `Terminated`, so that files and processes are closed in good order. A signal that the process was told to
    ignore stays ignored, and outside the main thread, which alone may set handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    taken = [number for number, handler in previous.items() if handler not in (signal.SIG_IGN, None)]

    def leave(number: int, _frame: FrameType | None) -> None:
        os.write(2, f"ibrl-fast: {_WORDS[signal.Signals(number)]}\n".encode())
        os._exit(128 + number)

    def unwind(number: int, _frame: FrameType | None) -> None:
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def begin() -> None:
        for number in taken:
            signal.signal(number, unwind)

    try:
        for number in taken:
            signal.signal(number, leave)
        yield begin
    finally:
        for number in taken:
            signal.signal(number, previous[number])
