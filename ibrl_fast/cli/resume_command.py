"""`ibrl-fast resume RUN`: goes on where a run's checkpoint stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.cli.run import finish, print_result
from ibrl_fast.training.trainer import Trainer


def main(arguments: Sequence[str]) -> None:
    """Resumes and prints where everything lies."""
    tyro.cli(resume, args=arguments, prog="ibrl-fast resume")


def resume(run: Annotated[Path, tyro.conf.Positional]) -> None:
    """Go on with an interrupted run, bit for bit on the CPU.

    Args:
        run: the run folder.
    """
    print_result(finish(Trainer.from_checkpoint(run)))
