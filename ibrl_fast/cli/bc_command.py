"""`ibrl-fast bc TASK --demos FILE --run-dir DIR`: imitation alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.cli.run import finish, print_result
from ibrl_fast.cli.train_command import fresh_folder
from ibrl_fast.training.presets import preset
from ibrl_fast.training.trainer import Trainer


def main(arguments: Sequence[str]) -> None:
    """Trains an imitation policy and prints its success."""
    tyro.cli(train_bc, args=arguments, prog="ibrl-fast bc")


def train_bc(
    task: Annotated[str, tyro.conf.Positional],
    demos: Path | None = None,
    run_dir: Path = Path("runs/{task}_{method}_seed{seed}"),
    seed: int = 0,
    updates: int | None = None,
    preset_name: Annotated[str, tyro.conf.arg(name="preset")] = "quickstart",
) -> None:
    """Train an imitation policy (BC) and evaluate it.

    Args:
        task: task name.
        demos: robomimic-format HDF5; collected with the scripted expert when absent.
        run_dir: where everything goes; {task}, {method} and {seed} are filled in.
        seed: decides everything random.
        updates: gradient steps; the preset's number when absent.
        preset_name: configuration to start from.
    """
    config = preset(preset_name)
    bc = config.bc if updates is None else replace(config.bc, updates=updates)
    config = replace(
        config,
        method="bc",
        gate=None,
        seed=seed,
        run_dir=run_dir,
        bc=bc,
        env=replace(config.env, task=task),
        demos=replace(config.demos, path=demos),
    )
    config = replace(config, run_dir=fresh_folder(config.resolved_run_dir()))
    print_result(finish(Trainer(config)))
