"""The folder of several runs: which they are (runs.json), a folder for each, and what came of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ibrl_fast.errors import ArgumentError, FileError, expect
from ibrl_fast.files import read_json, write_json
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.config_file import config_from_dict, config_to_dict

GROUP_NAME = "runs.json"
GROUP_FORMAT = 1


def is_group(path: Path) -> bool:
    """Whether a folder is one of several runs."""
    return (path / GROUP_NAME).is_file()


def placed(configs: Mapping[str, TrainConfig], folder: Path) -> dict[str, TrainConfig]:
    """Return the runs, each in the folder of its name.

    Raises:
        ArgumentError: no run, or a name that is no folder's.
    """
    expect(len(configs) > 0, "runs", "at least one", "none")
    for name in configs:
        fits = name not in ("", ".", "..") and not set(name) & set("/\0{}")
        expect(fits, "runs", "names of folders", repr(name))
    return {name: replace(config, run_dir=folder / name) for name, config in configs.items()}


def save_group(configs: Mapping[str, TrainConfig], folder: Path) -> None:
    """Write which runs a folder is of; it is made."""
    runs = [{"name": name, "config": _without_place(config)} for name, config in configs.items()]
    write_json(folder / GROUP_NAME, {"format": GROUP_FORMAT, "runs": runs})


def load_group(folder: Path) -> dict[str, TrainConfig]:
    """Return the runs of a folder by name, in their order.

    Raises:
        ArgumentError: it is not a folder of several runs, or its list is damaged or of another version.
    """
    path = folder / GROUP_NAME
    expect(path.is_file(), "runs", f"a folder with {GROUP_NAME}", folder)
    try:
        content = read_json(path)
        expect(content.get("format") == GROUP_FORMAT, "format", str(GROUP_FORMAT), content.get("format"))
        configs: dict[str, TrainConfig] = {}
        for run in content["runs"]:
            config = config_from_dict(run["config"])
            expect(isinstance(config, TrainConfig), run["name"], "a run of a method", config.method)
            assert isinstance(config, TrainConfig)
            configs[run["name"]] = config
        return placed(configs, folder)
    except (ValueError, TypeError, LookupError, FileError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ArgumentError(f"{path}: expected a list of runs, got {reason}") from error


def holds(folder: Path, configs: Mapping[str, TrainConfig]) -> bool:
    """Whether a folder is of just these runs."""
    if not is_group(folder):
        return False
    there = load_group(folder)
    return list(there) == list(configs) and all(
        _without_place(there[name]) == _without_place(config) for name, config in configs.items()
    )


def _without_place(config: TrainConfig) -> dict[str, Any]:
    """Return a run as JSON values; where it lies follows from its name."""
    return config_to_dict(replace(config, run_dir=Path("run")))
