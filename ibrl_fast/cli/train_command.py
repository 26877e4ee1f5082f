"""`ibrl-fast train [PRESET] [--task ... --method ... --seed ...]`: every field of the config is a flag."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tyro

from ibrl_fast.agents.methods import METHODS
from ibrl_fast.cli.choices import choose_parts, describe_parts, has_field
from ibrl_fast.cli.repeated import join_repeated
from ibrl_fast.cli.run import finish, in_fresh_folder, print_result
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.presets import PRESETS, preset

# Short forms of the flags that are used most
SHORT = {
    "--task": "--env.task",
    "--demos": "--demos.path",
    "--episodes": "--demos.episodes",
    "--gate": "--agent.gate",
    "--bc.from": "--il-policy",
}


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Train and print where everything lies; `begin` is called where the work starts."""
    rest = list(arguments)
    named = bool(rest) and not rest[0].startswith("-")
    default = preset(rest.pop(0)) if named else preset("quickstart")
    profile = "--profile" in rest
    rest = join_repeated([_long(argument) for argument in rest if argument != "--profile"])
    default, rest = choose_parts(default, rest)
    short = [name for name, long in SHORT.items() if has_field(default, long)]
    config = tyro.cli(
        TrainConfig,
        default=default,
        args=rest,
        prog="ibrl-fast train [PRESET]",
        description=f"Train one run. Presets: {', '.join(PRESETS)}. --method {'|'.join(METHODS)} (here: "
        f"{default.method}). Whole parts: {describe_parts(default)}. Short flags: {', '.join(short)}. "
        "--profile adds a trace of some steps and charts of where their time went.",
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
    )
    from ibrl_fast.envs.registry import resolve_task

    resolve_task(config.env.task)
    config = in_fresh_folder(config)

    from ibrl_fast.training.trainer import Trainer

    begin()
    print_result(finish(Trainer(config, profile=profile)))


def _long(argument: str) -> str:
    name, separator, value = argument.partition("=")
    for short, long in SHORT.items():
        inner = short == "--gate" and name.startswith("--gate.")
        if name == short or inner:
            name = long + name.removeprefix(short)
            break
    return name + separator + value
