"""`ibrl-fast resume RUN`: goes on from a run's checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.cli.run import check_exists, finish, print_result


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Resume and print where everything lies; `begin` is called where the work starts."""
    tyro.cli(functools.partial(resume, begin), args=arguments, prog="ibrl-fast resume")


def resume(begin: Callable[[], None], run: Annotated[Path, tyro.conf.Positional]) -> None:
    """Go on with an interrupted run, bit for bit on the CPU.

    Args:
        run: the run folder.
    """
    check_exists("run", run, "a run folder")

    from ibrl_fast.training.resume import resume_trainer

    begin()
    print_result(finish(resume_trainer(run)))
