"""Parts of a configuration that the command line exchanges as a whole: `--gate None`, `--method rlpd`.

A part is a field that is a configuration of its own and may be absent or of several types. Its flag takes the
name of a type, or None; the flags of what it holds (`--agent.gate.window 30`) are those of the type chosen.
"""

from __future__ import annotations

import copy
import dataclasses
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from ibrl_fast.agents.config import MethodConfig
from ibrl_fast.agents.methods import METHODS, method_config
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training.config import TrainConfig

METHOD = "--method"
METHOD_OPTION = "--agent."
IL_POLICY = "--il-policy"
IMITATION_OPTIONS = ("--bc.", "--bc-network.")


def choose_parts(config: TrainConfig, arguments: Sequence[str]) -> tuple[TrainConfig, list[str]]:
    """Take the flags of whole parts out of a command line.

    Args:
        config: what the other flags start from.
        arguments: of the command line.

    Returns:
        The configuration with the parts that were asked for, and the arguments that are left. Whether the
        parts fit the other values is left to who reads the whole command line.

    Raises:
        ArgumentError: a name that a part does not have, or an option that the method does not have; lists
            those that it has.
    """
    rest = list(arguments)
    method = _take(rest, METHOD)
    if method is not None:
        config = config.with_method(method)
    for path, options in list(_parts(config)):
        value = _take(rest, _flag(path))
        if value is not None:
            if value not in options:
                raise ArgumentError(f"{_flag(path)}: expected one of {', '.join(options)}, got {value}")
            config = _with(config, path, options[value])
        elif _get(config, path) is None and len(options) == 2 and _has_inner_flags(rest, path):
            # a flag of what it holds asks for the part
            config = _with(config, path, next(option for option in options.values() if option is not None))
    _check_method_options(config.agent, rest)
    _check_imitation_options(config.agent, rest)
    return config, rest


def describe_parts(config: TrainConfig) -> str:
    """Return the flags of whole parts with their names, for `--help`."""
    return ", ".join(f"{_flag(path)} {'|'.join(options)}" for path, options in _parts(config))


def has_field(config: Any, flag: str) -> bool:
    """Whether a configuration has the field that a flag such as `--agent.gate` names."""
    for name in flag.removeprefix("--").replace("-", "_").split("."):
        known = dataclasses.fields(config) if dataclasses.is_dataclass(config) else ()
        if name not in {entry.name for entry in known}:
            return False
        config = getattr(config, name)
    return True


def _check_imitation_options(method: MethodConfig, arguments: Sequence[str]) -> None:
    """Refuse options of an imitation policy that nobody fits, in one line."""
    flags = [argument.partition("=")[0].replace("_", "-") for argument in arguments]
    given = IL_POLICY in flags
    if method.needs_teacher and not given:
        return
    reason = "no imitation policy" if not method.needs_teacher else f"it given by {IL_POLICY}"
    for flag in flags:
        if flag.startswith(IMITATION_OPTIONS):
            raise ArgumentError(f"{flag}: expected none, as method {method.method} has {reason}")


def _check_method_options(config: MethodConfig, arguments: Sequence[str]) -> None:
    """Refuse an option that only other methods have, or none, in one line."""
    for argument in arguments:
        flag = argument.partition("=")[0]
        if not flag.startswith(METHOD_OPTION):
            continue
        name = flag.removeprefix(METHOD_OPTION).partition(".")[0]
        if has_field(config, name):
            continue
        own = ", ".join(entry.name.replace("_", "-") for entry in dataclasses.fields(config))
        others = [method for method in METHODS if has_field(method_config(method)(), name)]
        got = f"one of {', '.join(others)}" if others else name
        raise ArgumentError(f"{flag}: expected an option of {config.method} ({own}), got {got}")


def _flag(path: Sequence[str]) -> str:
    return "--" + ".".join(path).replace("_", "-")


def _parts(config: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Where the exchangeable parts of a configuration are, and what each may be: name to default."""
    hints = typing.get_type_hints(type(config))
    for entry in dataclasses.fields(config):
        path = (*above, entry.name)
        kinds = typing.get_args(hints[entry.name]) if _is_union(hints[entry.name]) else ()
        known: list[Any] = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
        if known:
            options = {_name(kind): kind() for kind in known}
            yield path, {**options, "None": None} if type(None) in kinds else options
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            yield from _parts(value, path)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _name(kind: Any) -> str:
    """`ViTConfig` is called `vit`."""
    return str(kind.__name__).removesuffix("Config").lower()


def _take(arguments: list[str], flag: str) -> str | None:
    """Remove a flag and its value, in either form; None where it is not there. The last one counts."""
    value = None
    while (index := _find(arguments, flag)) is not None:
        _, separator, given = arguments.pop(index).partition("=")
        if not separator and index == len(arguments):
            raise ArgumentError(f"{flag}: expected a value, got none")
        value = given if separator else arguments.pop(index)
    return value


def _find(arguments: Sequence[str], flag: str) -> int | None:
    names = [argument.partition("=")[0].replace("_", "-") for argument in arguments]
    return names.index(flag.replace("_", "-")) if flag.replace("_", "-") in names else None


def _has_inner_flags(arguments: list[str], path: tuple[str, ...]) -> bool:
    inner = _flag(path) + "."
    return any(argument.replace("_", "-").startswith(inner) for argument in arguments)


def _get(config: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        config = getattr(config, name)
    return config


def _with(config: Any, path: tuple[str, ...], value: Any) -> Any:
    """Return the configuration with another value at a path, unchecked: other flags may make it fit."""
    name, *rest = path
    inner = value if not rest else _with(getattr(config, name), tuple(rest), value)
    changed = copy.copy(config)
    object.__setattr__(changed, name, inner)
    return changed
