"""A run's configuration as JSON: config.json beside every run, and the same values inside its checkpoint.

Beside the fields stand `format`, the layout's version, and `method`, which says what kind of run it is.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from ibrl_fast.agents.methods import method_config
from ibrl_fast.errors import ArgumentError, FileError, expect
from ibrl_fast.files import read_json, write_json
from ibrl_fast.training.config import IMITATION, ImitationConfig, TrainConfig

CONFIG_NAME = "config.json"


CONFIG_FORMAT = 2


def config_to_dict(config: ImitationConfig) -> dict[str, Any]:
    """Return a run's configuration as JSON values."""
    return {"format": CONFIG_FORMAT, "method": config.method, **_to_plain(config)}


def config_from_dict(values: dict[str, Any]) -> ImitationConfig:
    """Return the inverse of `config_to_dict`: an `ImitationConfig` or a `TrainConfig` with its method.

    Raises:
        ArgumentError: an unknown field or method, naming it, or the layout of another version.
    """
    if not isinstance(values, dict):
        raise ArgumentError(f"config: expected an object with fields, got {values!r}")
    values = dict(values)
    version = values.pop("format", 1)
    known = f"{version} (the version of ibrl_fast that made the run can go on with it)"
    expect(version == CONFIG_FORMAT, "format", str(CONFIG_FORMAT), known)
    method = values.pop("method", None)
    if method == IMITATION:
        return _from_fields(values, ImitationConfig, {})
    expect(isinstance(method, str), "method", "a method's name", method)
    return _from_fields(values, TrainConfig, {"agent": method_config(method)})


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: _to_plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _to_plain(item) for name, item in value.items()}
    return value


def _from_fields(values: Any, cls: Any, narrower: dict[str, Any]) -> Any:
    """Return a dataclass from its fields; `narrower` has the types of those whose annotation says less."""
    if not isinstance(values, dict):
        raise ArgumentError(f"{cls.__name__}: expected an object with fields, got {values!r}")
    hints = {**typing.get_type_hints(cls), **narrower}
    known = {entry.name for entry in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ArgumentError(
            f"{cls.__name__}: expected fields {', '.join(sorted(known))}, got {', '.join(unknown)}"
        )
    return cls(**{name: _from_plain(value, hints[name]) for name, value in values.items()})


def _from_plain(value: Any, hint: Any) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _from_fields(value, hint, {})
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        options = [option for option in get_args(hint) if option is not type(None)]
        return _from_plain(value, _fitting(options, value))
    if origin is Mapping and isinstance(value, dict):
        return {name: _from_plain(item, get_args(hint)[1]) for name, item in value.items()}
    if origin is tuple:
        return tuple(_from_plain(item, get_args(hint)[0]) for item in value)
    if hint is Path:
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _fitting(options: list[Any], value: Any) -> Any:
    """Return the type that a plain value was made from: dataclasses are told apart by their fields."""
    for option in options:
        if typing.get_origin(option) is Mapping:
            if isinstance(value, dict):
                return option
        elif dataclasses.is_dataclass(option) == isinstance(value, dict) and (
            not isinstance(value, dict) or {entry.name for entry in dataclasses.fields(option)} == set(value)
        ):
            return option
    names = " or ".join(getattr(option, "__name__", str(option)) for option in options)
    raise ArgumentError(f"config: expected {names}, got {value!r}")


def save_config(config: ImitationConfig, run_dir: Path) -> None:
    """Write config.json."""
    write_json(run_dir / CONFIG_NAME, config_to_dict(config))


def load_config(run_dir: Path) -> ImitationConfig:
    """Read config.json of a run folder.

    Raises:
        ArgumentError: there is none, it is damaged, or it is no configuration.
    """
    path = Path(run_dir) / CONFIG_NAME
    if not path.is_file():
        raise ArgumentError(f"run: expected a run folder with {CONFIG_NAME}, got {run_dir}")
    try:
        config = config_from_dict(read_json(path))
    except (ValueError, TypeError, FileError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        expected = "a run's configuration, an object with its fields"
        raise ArgumentError(f"{path}: expected {expected}, got {reason}") from error
    return config
