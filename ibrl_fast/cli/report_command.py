"""`ibrl-fast report RUN ...`: learning curves of one or several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.errors import ArgumentError
from ibrl_fast.training.report import write_report


def main(arguments: Sequence[str]) -> None:
    """Draws and says where."""
    tyro.cli(report, args=arguments, prog="ibrl-fast report")


def report(runs: Annotated[tuple[Path, ...], tyro.conf.Positional], out: Path | None = None) -> None:
    """Draw learning_curve.png of all runs together (runs that differ only in their seed are one curve).

    Args:
        runs: run folders.
        out: folder for the picture; the first run's folder when absent.
    """
    if not runs:
        raise ArgumentError("runs: expected at least one run folder, got none")
    for path in write_report(runs, out or runs[0]):
        print(path)
