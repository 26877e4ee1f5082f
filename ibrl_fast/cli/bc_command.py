"""`ibrl-fast bc TASK --demos FILE --run-dir DIR`: imitation alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.cli.repeated import join_repeated
from ibrl_fast.cli.run import finish, in_fresh_folder, print_result
from ibrl_fast.envs.options import EnvOptions
from ibrl_fast.training.config import ImitationConfig
from ibrl_fast.training.demo_config import DemoFileConfig
from ibrl_fast.training.presets import preset


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Train an imitation policy and print its success; `begin` is called where the work starts."""
    run = tyro.cli(
        bc_run,
        args=join_repeated(arguments),
        prog="ibrl-fast bc",
        config=(tyro.conf.FlagConversionOff,),
    )
    config = in_fresh_folder(run)

    from ibrl_fast.training.imitation_trainer import ImitationTrainer

    begin()
    print_result(finish(ImitationTrainer(config)))


def bc_run(
    task: Annotated[str, tyro.conf.Positional],
    demo_file: Annotated[DemoFileConfig, tyro.conf.arg(name="demos")],
    env: EnvOptions,
    demos: Path | None = None,
    episodes: int | None = None,
    run_dir: Path = Path("runs/{task}_{method}_seed{seed}"),
    seed: int = 0,
    updates: int | None = None,
    preset_name: Annotated[str, tyro.conf.arg(name="preset")] = "quickstart",
) -> ImitationConfig:
    """Train an imitation policy (BC) and evaluate it.

    Args:
        task: task name.
        demo_file: how the file of demonstrations is read.
        env: the environments; what is not given is the preset's.
        demos: robomimic-format HDF5, or a Minari data set (minari:ID or its folder); collected with the
            scripted expert when absent.
        episodes: demonstrations used; when absent all of the file, or the preset's number to be collected.
        run_dir: where everything goes; {task}, {method} and {seed} are filled in.
        seed: decides everything random.
        updates: gradient steps; the preset's number when absent.
        preset_name: configuration to start from.
    """
    from ibrl_fast.envs.registry import resolve_task

    resolve_task(task)
    config = preset(preset_name).imitation()
    bc = config.bc if updates is None else replace(config.bc, updates=updates)
    count = config.demos.episodes if episodes is None and demos is None else episodes
    chosen = {
        entry.name: getattr(env, entry.name)
        for entry in fields(env)
        if getattr(env, entry.name) != entry.default
    }
    reading = {entry.name: getattr(demo_file, entry.name) for entry in fields(demo_file)}
    return replace(
        config,
        seed=seed,
        run_dir=run_dir,
        bc=bc,
        env=replace(config.env, task=task, **chosen),
        demos=replace(config.demos, path=demos, episodes=count, **reading),
    )
