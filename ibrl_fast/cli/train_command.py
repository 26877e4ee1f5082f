"""`ibrl-fast train [PRESET] [--task ... --seed ... --run-dir ...]`: every field of the config is a flag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import tyro

from ibrl_fast.cli.run import finish, print_result
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.presets import PRESETS, preset
from ibrl_fast.training.trainer import Trainer

# Short forms of the flags that are used most
SHORT = {"--task": "--env.task", "--demos": "--demos.path", "--episodes": "--demos.episodes"}


def main(arguments: Sequence[str]) -> None:
    """Trains and prints where everything lies."""
    rest = list(arguments)
    named = bool(rest) and not rest[0].startswith("-")
    default = preset(rest.pop(0)) if named else preset("quickstart")
    profile = "--profile" in rest
    rest = [_long(argument) for argument in rest if argument != "--profile"]
    if _value(rest, "--method") not in (None, "ibrl"):
        default = replace(default, gate=None)  # a gate belongs to ibrl alone
    config = tyro.cli(
        TrainConfig,
        default=default,
        args=rest,
        prog="ibrl-fast train [PRESET]",
        description=f"Train one run. Presets: {', '.join(PRESETS)}. Short flags: {', '.join(SHORT)}. "
        "--profile adds a trace of some steps and charts of where their time went.",
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
    )
    run_dir = config.resolved_run_dir()
    config = replace(config, run_dir=fresh_folder(run_dir))
    print_result(finish(Trainer(config, profile=profile)))


def _long(argument: str) -> str:
    name, separator, value = argument.partition("=")
    return SHORT.get(name, name) + separator + value


def _value(arguments: Sequence[str], name: str) -> str | None:
    """What the command line gives a flag, in either form."""
    for index, argument in enumerate(arguments):
        flag, separator, value = argument.partition("=")
        if flag == name:
            return value if separator else next(iter(arguments[index + 1 :]), None)
    return None


def fresh_folder(path: Path) -> Path:
    """`path`, or `path_2`, `path_3`, ... where a run lies there already, so that nothing is overwritten."""
    candidate, number = path, 1
    while candidate.exists() and any(candidate.iterdir()):
        number += 1
        candidate = path.with_name(f"{path.name}_{number}")
    return candidate
