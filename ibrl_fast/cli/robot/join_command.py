"""`ibrl-fast robot join FOLDER --out FILE`: recorded episodes as one file of demonstrations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.cli.run import check_exists
from ibrl_fast.files import check_output


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Write the file; `begin` is called where the work starts."""
    tyro.cli(functools.partial(join, begin), args=arguments, prog="ibrl-fast robot join")


def join(
    begin: Callable[[], None],
    recording: Annotated[Path, tyro.conf.Positional],
    out: Path,
    only_success: bool = False,
) -> None:
    """Write the episodes of a recording in which the robot was moved as one robomimic-format file.

    Args:
        recording: a recorder's folder.
        out: the file to write.
        only_success: leave out episodes that did not succeed.
    """
    check_exists("recording", recording, "a recorder's folder")

    from ibrl_fast.robot.recording import join_episodes

    begin()
    check_output(out, "out")
    written, left_out = join_episodes(recording, out, only_success=only_success)
    print(f"{written} episodes, {left_out} left out: {out}")
