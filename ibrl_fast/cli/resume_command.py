"""`ibrl-fast resume RUN`: goes on from a run's checkpoint, or with the runs of a folder of several."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.cli.run import check_exists, finish, print_result
from ibrl_fast.errors import expect
from ibrl_fast.training.group.group_folder import is_group


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Resume and print where everything lies; `begin` is called where the work starts."""
    tyro.cli(functools.partial(resume, begin), args=arguments, prog="ibrl-fast resume")


def resume(
    begin: Callable[[], None], run: Annotated[Path, tyro.conf.Positional], jobs: int | None = None
) -> None:
    """Go on with an interrupted run, or with those of several that have not finished, bit for bit on the CPU.

    Args:
        run: the run folder, or the folder of several runs.
        jobs: of several runs, how many at once; by default as many as cores and memory allow.
    """
    check_exists("run", run, "a run folder")
    if is_group(run):
        from ibrl_fast.cli.group import finish_group
        from ibrl_fast.training.group.train_group import resume_group

        begin()
        finish_group(resume_group(run, jobs=jobs))
        return
    expect(jobs is None, "jobs", "none for a single run", jobs)

    from ibrl_fast.training.resume import resume_trainer

    begin()
    print_result(finish(resume_trainer(run)))
