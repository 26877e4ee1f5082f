"""Flags that take several values and may be given several times."""

from __future__ import annotations

from collections.abc import Sequence

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
