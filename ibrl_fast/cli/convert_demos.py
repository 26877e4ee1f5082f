"""`ibrl-fast demos convert FILE --out FILE`: observations from a file's simulator states."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.envs.options import EnvOptions, Observation, Reward, Success
from ibrl_fast.files import check_output


@dataclass(frozen=True)
class ObservedOptions(EnvOptions):
    """Options of the environments that observe: states and pictures unless others are asked for."""

    observation: Observation = "both"
    # a file decides these, or nothing does where no episode runs
    action_repeat: tyro.conf.Suppress[int] = 1
    max_episode_steps: tyro.conf.Suppress[int] = 2
    fixed_goals: tyro.conf.Suppress[bool] = False
    settle_ahead: tyro.conf.Suppress[bool | None] = None
    reward: tyro.conf.Suppress[Reward] = "sparse"
    success: tyro.conf.Suppress[Success] = "task"
    state_keys: tyro.conf.Suppress[tuple[str, ...]] = ()
    proprio_keys: tyro.conf.Suppress[tuple[str, ...]] = ()


def convert(
    begin: Callable[[], None],
    file: Annotated[Path, tyro.conf.Positional],
    out: Path,
    env: Annotated[ObservedOptions, tyro.conf.arg(name="")],
    task: str | None = None,
    filter_key: str | None = None,
    episodes: int | None = None,
) -> None:
    """Make observations, pictures included, from the simulator states of a demonstration file.

    Args:
        file: the HDF5 file, whose demonstrations have `states`.
        out: the file to write.
        env: what is observed, and by what.
        task: task name; None: the file's own.
        filter_key: only the demonstrations of this mask.
        episodes: only so many, the first.
    """
    from ibrl_fast.data.demonstration_masks import read_masks
    from ibrl_fast.data.demonstrations import read_demonstrations, write_demonstrations
    from ibrl_fast.envs.options import PoolOptions
    from ibrl_fast.training.convert_demos import convert_demonstrations
    from ibrl_fast.training.records.progress import RunProgress

    begin()
    check_output(out, "out")
    options = PoolOptions(**{entry.name: getattr(env, entry.name) for entry in fields(env)})
    if env.num_envs == 1 and env.backend != "reference":
        options = replace(options, num_envs=len(os.sched_getaffinity(0)))
    read = read_demonstrations(file, filter_key=filter_key, max_demos=episodes, needs_rewards=False)
    with RunProgress() as progress, progress.bar("states", read.num_steps) as update:
        demos = convert_demonstrations(read, file, task=task, options=options, progress=update)
    masks = read_masks(file, filter_key=filter_key, max_demos=episodes)
    write_demonstrations(out, demos, demos.env_args, masks=masks)
    for remark in demos.remarks:
        print(f"{file}: {remark}")
    print(f"{len(demos)} demonstrations, {demos.num_steps} steps: {out}")
