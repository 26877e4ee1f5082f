"""`ibrl-fast report RUN ...`: learning curves of one or several runs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.cli.run import check_exists
from ibrl_fast.errors import ArgumentError, expect
from ibrl_fast.files import check_output_folder
from ibrl_fast.training.config_file import CONFIG_NAME
from ibrl_fast.training.group.group_folder import is_group


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Draw and print where the picture lies; `begin` is called where the work starts."""
    tyro.cli(functools.partial(report, begin), args=arguments, prog="ibrl-fast report")


def report(
    begin: Callable[[], None],
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Path | None = None,
) -> None:
    """Draw learning_curve.png of all runs together (runs that differ only in their seed are one curve).

    Args:
        runs: run folders, and folders of several runs.
        out: folder for the picture; the first run's folder when absent.
    """
    if not runs:
        raise ArgumentError("runs: expected at least one run folder, got none")
    for run in runs:
        if not is_group(run):
            check_exists("run", run / CONFIG_NAME, f"a run folder with {CONFIG_NAME}")

    from ibrl_fast.training.group.outcome import begun_runs
    from ibrl_fast.training.records.report import write_report

    begin()
    drawn = [path for run in runs for path in (begun_runs(run) if is_group(run) else [run])]
    expect(len(drawn) > 0, "runs", "one that has begun", "none")
    if out is not None:
        check_output_folder(out, "out")
    for path in write_report(drawn, out or runs[0]):
        print(path)
