"""What a user can cause or mend: errors of this package's own, each one message.

The command line prints the message of a `UserError` and ends with exit status 2; any other exception is a
mistake of the program and keeps its traceback. Each class is also the built-in that Python programs expect
(`except ValueError` catches a wrong argument).

Errors of other libraries and of the system become one of these where they are called: `user_errors`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any


class UserError(Exception):
    """Something that the user can mend; the message says name, expected and got."""


class ArgumentError(UserError, ValueError):
    """An argument, option or configuration that cannot be used."""


class FileError(UserError, OSError):
    """A file or folder that cannot be read or written."""

    def __str__(self) -> str:
        return ": ".join(str(part) for part in self.args)


class OutOfMemoryError(UserError, MemoryError):
    """More memory was asked for than there is."""


def expect(condition: bool, name: str, expected: str, got: Any) -> None:
    """Raise an `ArgumentError`, `NAME: expected EXPECTED, got GOT`, unless `condition` holds."""
    if not condition:
        raise ArgumentError(f"{name}: expected {expected}, got {got}")


def describe(value: Any) -> str:
    """Return a value's text for a message, of bounded length."""
    if isinstance(value, Integral) and int(value).bit_length() > 256:
        return f"an integer of {int(value).bit_length()} bits"
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def first_line(error: BaseException) -> str:
    """Return what an error says in one line; its type where it says nothing."""
    words = str(error).strip().splitlines()
    return words[0] if words else type(error).__name__


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Put what an argument was for before the message of an `ArgumentError`."""
    try:
        yield
    except ArgumentError as error:
        raise ArgumentError(f"{what}: {error}") from error


@contextmanager
def user_errors(name: str) -> Iterator[None]:
    """Turn the system's refusals inside the block into a `UserError` that begins with `name`.

    Args:
        name: what is being read, written or made, as the user knows it.

    Raises:
        FileError: for an `OSError` (permissions, a full disk, a missing folder).
        OutOfMemoryError: for a `MemoryError`.
    """
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        if error.errno == errno.ENOSPC:
            reason += "; make room and run the command again"
        raise FileError(f"{name}: {reason}") from error
    except MemoryError as error:
        raise OutOfMemoryError(f"{name}: {str(error) or 'not enough memory'}") from error
