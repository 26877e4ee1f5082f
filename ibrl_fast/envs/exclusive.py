"""One thread and one process at a time: what keeps a pool's calls apart, and from the interpreter's end."""

from __future__ import annotations

import atexit
import functools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from ibrl_fast.errors import UserError

_Method = TypeVar("_Method", bound=Callable[..., Any])


class PoolInUseError(UserError, RuntimeError):
    """A pool used by two threads at once, by a forked child, or while the interpreter ends."""


class Guard:
    """The turn to use one pool.

    Attributes:
        lock: held during a call.
        user: identity of the thread that held it last.
        is_foreign: the pool belongs to the process that this one is a fork of.
        refuses: no call may begin any more.
        is_closing: a thread waits to close the pool; nothing begins before it, or it might wait for ever:
            a lock does not queue, and a thread that steps without a pause takes it again at once.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.user = 0
        self.is_foreign = False
        self.refuses = False
        self.is_closing = False
        _GUARDS.add(self)
        if _ENDING:
            self.refuse("make_pool")

    def is_mine(self) -> bool:
        """Return whether a call of this very thread is under way, as a signal's handler may find it."""
        return self.lock.locked() and self.user == threading.get_ident()

    def refuse(self, call: str) -> NoReturn:
        """Raise the error that says why a call cannot begin."""
        if self.is_foreign:
            raise PoolInUseError(
                "pool: expected the process that made it, got a fork; make a pool in the child"
            )
        if _ENDING and threading.current_thread() is not threading.main_thread():
            raise SystemExit("pool: the interpreter is ending")  # ends a thread without a word
        if _ENDING:
            raise PoolInUseError(f"{call}: expected a running interpreter, got one that is ending")
        user = "this thread (from a signal's handler?)" if self.is_mine() else "another thread"
        raise PoolInUseError(f"{call}: expected one thread at a time, got a pool in use by {user}")


_GUARDS: weakref.WeakSet[Guard] = weakref.WeakSet()
_ENDING: list[bool] = []  # not empty while the interpreter ends


def exclusive(method: _Method) -> _Method:
    """Make a method of an object with a `_guard` one during which no other such method may begin."""
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        guard = self._guard
        if guard.refuses or guard.is_closing or guard.lock.locked():
            guard.refuse(name)
        me = threading.get_ident()
        # `with` alone neither loses nor keeps the lock when Ctrl-C comes; who slips in between waits
        with guard.lock:
            guard.user = me
            return method(self, *args, **kwargs)

    return call  # type: ignore[return-value]


def _end() -> None:
    """At the interpreter's end: wait for the calls of other threads, which cannot come back later."""
    _ENDING.append(True)
    guards = list(_GUARDS)
    for guard in guards:
        guard.refuses = True
    for guard in guards:
        if not guard.is_mine():
            guard.lock.acquire()


def _disown() -> None:
    """In a forked child: threads and locks of the parent's pools are not here."""
    for guard in list(_GUARDS):
        guard.lock = threading.Lock()
        guard.is_foreign = guard.refuses = True


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)
