"""Memory of the CPU learner: freed blocks stay with the process."""

from __future__ import annotations

import ctypes

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
