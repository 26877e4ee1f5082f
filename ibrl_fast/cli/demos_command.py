"""`ibrl-fast demos collect|convert|download`: demonstrations made, given observations, or fetched."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.cli.convert_demos import convert
from ibrl_fast.cli.download_demos import download
from ibrl_fast.cli.run import load_function
from ibrl_fast.envs.options import EnvOptions
from ibrl_fast.errors import expect
from ibrl_fast.files import check_output


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Run one of the three, `collect` where none is named; `begin` is called where the work starts."""
    actions: dict[str, Callable[..., None]] = {"collect": collect, "convert": convert, "download": download}
    name = arguments[0] if arguments and arguments[0] in actions else None
    rest = arguments if name is None else arguments[1:]
    action = functools.partial(actions[name or "collect"], begin)
    tyro.cli(action, args=rest, prog=f"ibrl-fast demos {name}" if name else "ibrl-fast demos")


def collect(
    begin: Callable[[], None],
    task: Annotated[str, tyro.conf.Positional],
    out: Path,
    env: Annotated[EnvOptions, tyro.conf.arg(name="")],
    episodes: int = 3,
    expert: str | None = None,
    action_noise: float = 0.0,
    keep_failures: bool = False,
    seed: int = 0,
) -> None:
    """Collect demonstrations with a scripted expert, as robomimic-format HDF5.

    `ibrl-fast demos convert FILE` makes observations from a file's states, `ibrl-fast demos download NAME`
    fetches a published file; each has a --help.

    Args:
        task: task name.
        out: the file to write.
        env: the environments.
        episodes: demonstrations wanted.
        expert: MODULE:FUNCTION of a scripted expert of one's own, `state` [state_dim] to an action in
            [-1, 1]; the module is imported (from PYTHONPATH). The task's own when absent.
        action_noise: standard deviation of Gaussian noise on the expert's actions.
        keep_failures: keep episodes that do not succeed.
        seed: decides every start and the noise; each demonstration's own seed is recorded.
    """
    from ibrl_fast.envs.registry import resolve_task

    resolve_task(task)
    expect(not env.fixed_goals, "fixed_goals", "False, as every demonstration has a seed of its own", True)

    from ibrl_fast.data.demonstrations import write_demonstrations
    from ibrl_fast.training.collect_demos import collect_demonstrations
    from ibrl_fast.training.records.progress import RunProgress

    begin()
    check_output(out, "out")
    with RunProgress() as progress, progress.bar("demonstrations", episodes) as update:
        demos = collect_demonstrations(
            task,
            episodes,
            seed=seed,
            expert=None if expert is None else load_function("expert", expert),
            action_noise=action_noise,
            success_only=not keep_failures,
            progress=lambda done, attempts: update(done),
            **{entry.name: getattr(env, entry.name) for entry in fields(env)},
        )
    write_demonstrations(out, demos, demos.env_args)
    print(f"{len(demos)} demonstrations, {demos.num_steps} steps: {out}")
