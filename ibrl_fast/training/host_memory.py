"""Memory of the learner: freed blocks stay with the process, and too little of it is one message."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ibrl_fast.errors import OutOfMemoryError, UserError, first_line

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Tells the C library to reuse large freed blocks instead of giving them back to the system.

    By default every tensor above 32 MB is a fresh mapping whose pages the system clears one by one at first
    use, which costs a pixel update on the CPU more than its arithmetic. The process keeps its peak memory
    until it ends.

    Returns:
        Whether this C library (glibc) can do so; elsewhere nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # no separate mappings, and no trimming at the end of the heap
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn every library's way of running out of memory into one error.

    Raises:
        OutOfMemoryError: from PyTorch's, NumPy's and Python's own.
    """
    try:
        yield
    except UserError:
        raise
    except (MemoryError, RuntimeError) as error:
        # on the CPU PyTorch has no type for it
        words = first_line(error)
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in words:
            raise
        advice = "lower batch_size, replay.capacity, env.num_envs or the networks' widths"
        raise OutOfMemoryError(f"memory: expected enough for this run, got: {words}; {advice}") from error
