"""`ibrl-fast demos TASK --episodes N --out FILE`: demonstrations from a scripted expert."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ibrl_fast.files import check_output


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Collect and write demonstrations; `begin` is called where the work starts."""
    tyro.cli(functools.partial(collect, begin), args=arguments, prog="ibrl-fast demos")


def collect(
    begin: Callable[[], None],
    task: Annotated[str, tyro.conf.Positional],
    out: Path,
    episodes: int = 3,
    observation: Literal["state", "pixels", "both"] = "state",
    cameras: tuple[str, ...] = ("corner2",),
    image_size: int = 84,
    action_repeat: int = 2,
    max_episode_steps: int = 100,
    action_noise: float = 0.0,
    keep_failures: bool = False,
    seed: int = 0,
) -> None:
    """Collect demonstrations with a task's scripted expert, as robomimic-format HDF5.

    Args:
        task: task name.
        out: the file to write.
        episodes: demonstrations wanted.
        observation: what is recorded.
        cameras: cameras recorded, when pixels are.
        image_size: height and width, pixels.
        action_repeat: control steps per agent step.
        max_episode_steps: agent steps per episode.
        action_noise: standard deviation of Gaussian noise on the expert's actions.
        keep_failures: keep episodes that do not succeed.
        seed: decides every start and the noise; each demonstration's own seed is recorded.
    """
    from ibrl_fast.envs.registry import resolve_task

    resolve_task(task)

    from ibrl_fast.data.demonstrations import write_demonstrations
    from ibrl_fast.envs.collect_demos import collect_demonstrations
    from ibrl_fast.training.records.progress import RunProgress

    begin()
    check_output(out, "out")
    with RunProgress() as progress, progress.bar("demonstrations", episodes) as update:
        demos = collect_demonstrations(
            task,
            episodes,
            seed=seed,
            observation=observation,
            cameras=cameras,
            image_size=image_size,
            action_repeat=action_repeat,
            max_episode_steps=max_episode_steps,
            action_noise=action_noise,
            success_only=not keep_failures,
            progress=lambda done, attempts: update(done),
        )
    write_demonstrations(out, demos, demos.env_args)
    print(f"{len(demos)} demonstrations, {demos.num_steps} steps: {out}")
