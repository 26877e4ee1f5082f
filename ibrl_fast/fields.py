"""Types of configurations: every field is what its annotation says, whoever filled it in."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ibrl_fast.errors import ArgumentError

LARGEST = 2**53
"""Bound of every integer: as large as a double counts exactly; what is larger is a slip of the hand."""

_WORDS = {
    int: "an integer",
    float: "a finite number",
    bool: "True or False",
    str: "text",
    Path: "a path",
    type(None): "None",
}


def check_fields(config: Any, prefix: str = "") -> None:
    """Check the fields of a dataclass against their annotations; called from its `__post_init__`.

    Integers are at most `LARGEST` in size, numbers are not infinite; NaN fails the range that a number has.

    Args:
        config: the instance.
        prefix: what stands before a field's name in messages, such as `env.`.

    Raises:
        ArgumentError: naming the field, what was expected and what was given.
    """
    for name, hint in _hints(type(config)).items():  # type: ignore[arg-type]
        value = getattr(config, name)
        if not _fits(value, hint):
            raise ArgumentError(f"{prefix}{name}: expected {_describe(hint)}, got {value}")


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {entry.name: hints[entry.name] for entry in dataclasses.fields(cls)}


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is typing.Literal:
        return isinstance(value, str) and value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin is Mapping:
        # values of a fixed size are checked by whoever reads them
        return isinstance(value, Mapping) and all(_fits(key, arguments[0]) for key in value)
    if hint is bool or hint is str:
        return isinstance(value, hint)
    if hint is int:
        return not isinstance(value, bool) and _is_integer(value) and abs(int(value)) <= LARGEST
    if hint is float:
        return not isinstance(value, bool | str) and _is_number(value)
    if hint is Path:
        return isinstance(value, str | Path) and "\0" not in str(value)
    return isinstance(value, hint)


def _is_integer(value: Any) -> bool:
    """Accept Python's and NumPy's integers."""
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def _is_number(value: Any) -> bool:
    try:
        return not math.isinf(value)
    except (TypeError, OverflowError):
        return False


def _describe(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_describe, arguments))
    if origin is typing.Literal:
        return f"{', '.join(arguments[:-1])} or {arguments[-1]}"
    if origin is tuple:
        return f"a tuple, each of it {_describe(arguments[0])}"
    if origin is Mapping:
        return f"a mapping, each name {_describe(arguments[0])}"
    if hint is int:
        return f"an integer of at most {LARGEST} in size"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))
