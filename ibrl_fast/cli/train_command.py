"""`ibrl-fast train [PRESET] [--task ... --method ... --seed ...]`: every field of the config is a flag.

`--seeds 0 1 2` trains several seeds side by side, `--jobs N` of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tyro

from ibrl_fast.agents.methods import METHODS
from ibrl_fast.cli.choices import choose_parts, describe_parts, has_field
from ibrl_fast.cli.repeated import join_repeated, take_numbers
from ibrl_fast.cli.run import finish, in_fresh_folder, print_result
from ibrl_fast.errors import ArgumentError
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
    rest = [_long(argument) for argument in rest if argument != "--profile"]
    seeds, rest = take_numbers(rest, "--seeds")
    jobs, rest = take_numbers(rest, "--jobs", most=1)
    _check_group_flags(rest, seeds, jobs, profile)
    rest = join_repeated(rest)
    default, rest = choose_parts(default, rest)
    short = [name for name, long in SHORT.items() if has_field(default, long)]
    config = tyro.cli(
        TrainConfig,
        default=default,
        args=rest,
        prog="ibrl-fast train [PRESET]",
        description=f"Train one run. Presets: {', '.join(PRESETS)}. --method {'|'.join(METHODS)} (here: "
        f"{default.method}). Whole parts: {describe_parts(default)}. Short flags: {', '.join(short)}. "
        "--profile adds a trace of some steps and charts of where their time went. --seeds 0 1 2 trains "
        "several seeds side by side, as many at once as cores and memory allow or as --jobs N says.",
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
    )
    from ibrl_fast.envs.registry import resolve_task

    resolve_task(config.env.task)
    if seeds is not None:
        from ibrl_fast.cli.group import finish_group, in_group_folder
        from ibrl_fast.training.group.train_group import seed_runs, train_group

        folder, configs = seed_runs(config, seeds)
        folder = in_group_folder(folder, configs)
        begin()
        finish_group(train_group(configs, folder, jobs=None if jobs is None else jobs[0]))
        return
    config = in_fresh_folder(config)

    from ibrl_fast.training.trainer import Trainer

    begin()
    print_result(finish(Trainer(config, profile=profile)))


def _check_group_flags(
    arguments: Sequence[str], seeds: list[int] | None, jobs: list[int] | None, profile: bool
) -> None:
    """Refuse what belongs to one run beside several, and the reverse, in one line."""
    names = [argument.partition("=")[0] for argument in arguments]
    if seeds is None:
        if jobs is not None:
            raise ArgumentError("--jobs: expected --seeds beside it, got a single run")
    elif "--seed" in names or profile:
        flag = "--profile" if profile else "--seed"
        raise ArgumentError(f"{flag}: expected none beside --seeds, got it")


def _long(argument: str) -> str:
    name, separator, value = argument.partition("=")
    for short, long in SHORT.items():
        inner = short == "--gate" and name.startswith("--gate.")
        if name == short or inner:
            name = long + name.removeprefix(short)
            break
    return name + separator + value
