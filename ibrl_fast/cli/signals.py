"""Ctrl-C and SIGTERM end a command with exit status 130 or 143 and one line, whatever it is doing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ibrl_fast.training.interruption import Terminated, taken_signals

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
    `Terminated`, so that files and processes are closed in good order. See `taken_signals` for exceptions.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        os.write(2, f"ibrl-fast: {_WORDS[signal.Signals(number)]}\n".encode())
        os._exit(128 + number)

    def unwind(number: int, _frame: FrameType | None) -> None:
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    with taken_signals() as handle:
        handle(leave)
        yield lambda: handle(unwind)
