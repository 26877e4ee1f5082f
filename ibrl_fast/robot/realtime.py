"""What a system offers a loop that must keep time: a real-time priority, a core of its own, locked memory.

Each is a wish: where the system refuses, the loop runs without, and a message says what would help. Only the
calling thread gets priority and core, so that torch's own threads do not compete with it for the core.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ibrl_fast.errors import expect

_MCL_CURRENT, _MCL_FUTURE = 1, 2


@contextmanager
def real_time(
    priority: int | None = None, core: int | None = None, *, lock_memory: bool = False
) -> Iterator[list[str]]:
    """Ask for what the loop inside the block should have; what can be given back is, at its end.

    Python's collector of cycles rests inside the block, after one collection.

    Args:
        priority: of SCHED_FIFO, 1 to 99; None: the usual scheduler.
        core: number of the core to run on; None: any.
        lock_memory: keep all memory of the process in RAM, from now on to the end of the process.

    Yields:
        One message for each wish: granted, or refused and why.

    Raises:
        ArgumentError: a priority or a core that cannot be.
    """
    if priority is not None:
        expect(1 <= priority <= 99, "priority", "1 to 99", priority)
    cores = os.sched_getaffinity(0)
    if core is not None:
        expect(core in cores, "core", f"one of {sorted(cores)}", core)
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    messages: list[str] = []
    if lock_memory:
        messages.append(_ask("memory locked", _lock_memory, "raise `ulimit -l` (memlock)"))
    if core is not None:
        messages.append(_ask(f"core {core}", lambda: os.sched_setaffinity(0, {core}), "ask for another core"))
    if priority is not None:
        wish = os.sched_param(priority)
        advice = "raise `ulimit -r` (rtprio) or grant CAP_SYS_NICE"
        words = f"SCHED_FIFO priority {priority}"
        messages.append(_ask(words, lambda: os.sched_setscheduler(0, os.SCHED_FIFO, wish), advice))
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield messages
    finally:
        if collects:
            gc.enable()
        if priority is not None:
            os.sched_setscheduler(0, policy, parameter)
        if core is not None:
            os.sched_setaffinity(0, cores)


def _ask(words: str, wish: Callable[[], object], advice: str) -> str:
    try:
        wish()
    except OSError as error:
        return f"{words}: refused ({error.strerror}); {advice}"
    return f"{words}: granted"


def _lock_memory() -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
