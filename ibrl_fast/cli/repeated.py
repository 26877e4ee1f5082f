"""Flags that take several values."""

from __future__ import annotations

from collections.abc import Sequence

from ibrl_fast.errors import expect

ENTRY_KEYS = (
    *("--demos.state-keys", "--demos.proprio-keys"),
    *("--env.state-keys", "--env.proprio-keys"),
)


def join_repeated(arguments: Sequence[str], flags: Sequence[str] = ENTRY_KEYS) -> list[str]:
    """Bring the values of a flag that stands in several places together, in their order.

    Args:
        arguments: of the command line; `--flag a b`, `--flag=a` and `--flag a --flag b` mean what they say.
        flags: those that take several values.

    Returns:
        The arguments, each of these flags at the end and once.
    """
    rest: list[str] = []
    found: dict[str, list[str]] = {}
    values: list[str] | None = None
    for argument in arguments:
        if not argument.startswith("--"):
            (rest if values is None else values).append(argument)
            continue
        name, separator, value = argument.partition("=")
        flag = name.replace("_", "-")
        values = found.setdefault(flag, []) if flag in flags else None
        if values is None:
            rest.append(argument)
        elif separator:
            values.append(value)
            values = None
    return rest + [part for flag, parts in found.items() for part in (flag, *parts)]


def take_numbers(
    arguments: Sequence[str], flag: str, most: int | None = None
) -> tuple[list[int] | None, list[str]]:
    """Take a flag with its whole numbers, `--flag 0 1 2` or `--flag=0`, out of a command line.

    Args:
        arguments: of the command line.
        flag: which may stand in several places.
        most: numbers that it may have.

    Returns:
        The numbers, None where the flag is not there, and the arguments that are left.

    Raises:
        ArgumentError: no number, too many, or something else.
    """
    joined = join_repeated(arguments, [flag])
    if flag not in joined:
        return None, joined
    begin = joined.index(flag)
    values = joined[begin + 1 :]
    numbers = [int(value) for value in values if value.isdecimal()]
    expected = "whole numbers" if most is None else "a whole number"
    fits = 0 < len(numbers) == len(values) and (most is None or len(numbers) <= most)
    expect(fits, flag, expected, " ".join(values) or "none")
    return numbers, joined[:begin]
