"""`ibrl-fast robot report RECORDING`: a page about recorded episodes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.cli.run import check_exists


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Write the page and print where it lies; `begin` is called where the work starts."""
    tyro.cli(functools.partial(report, begin), args=arguments, prog="ibrl-fast robot report")


def report(
    begin: Callable[[], None],
    recording: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
    limits: Path | None = None,
) -> None:
    """Draw jitter, latencies, ways and shares of imitation actions as one page and one picture.

    Args:
        recording: a recorder's folder, or one file of it.
        out: folder for the page; the recording's own when absent.
        limits: file of safety limits to draw around the ways.
    """
    check_exists("recording", recording, "a recorder's folder, or one file of it")

    from ibrl_fast.robot.limits import read_limits
    from ibrl_fast.robot.report import write_report

    begin()
    folder = recording if recording.is_dir() else recording.parent
    for path in write_report(recording, out or folder, None if limits is None else read_limits(limits)):
        print(path)
