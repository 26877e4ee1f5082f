"""`ibrl-fast view FILE_OR_RUN`: demonstrations as a film, a contact sheet, a plot and a table."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.errors import expect


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Look at demonstrations; `begin` is called where the work starts."""
    tyro.cli(functools.partial(view, begin), args=arguments, prog="ibrl-fast view")


def view(
    begin: Callable[[], None],
    path: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
    episodes: tuple[int, ...] = (),
    camera: str | None = None,
    size: int = 192,
    fps: float | None = None,
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    json_: Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Make a film (MP4), a contact sheet and a plot over time (PNG) of demonstrations, and print their facts.

    Args:
        path: a file of demonstrations (HDF5), a Minari data set (minari:ID or its folder), or a run's folder.
        out: folder for the pictures; views/NAME when absent, or NAME_2 where that is there.
        episodes: numbers of the demonstrations, from 0; when absent all, of which the first 12 are drawn.
        camera: its name; when absent the first that is stored, or the task's own.
        size: height and width of a picture, pixels; stored images are enlarged by whole factors.
        fps: frames per second; when absent as fast as it was, by the recorded control period.
        overwrite: replace pictures that lie in the folder.
        json_: print JSON instead of tables.
    """
    expect(16 <= size <= 2048, "size", "16 to 2048", size)
    expect(fps is None or 0.1 <= fps <= 1000, "fps", "0.1 to 1000", fps)

    from rich.console import Console

    from ibrl_fast.training.records.progress import RunProgress
    from ibrl_fast.training.viewing import tables
    from ibrl_fast.training.viewing.view import choose_out, draw, read_view

    begin()
    demos, found = read_view(path, episodes, choose_out(path, out, overwrite=overwrite))
    console = Console(highlight=False, quiet=json_)
    title = f"{len(found.facts.episodes)} demonstrations of {found.source}"
    console.print(tables.episode_table(found.facts, title), tables.action_table(found.facts))
    for line in tables.initial_lines(found.facts):
        console.print(line, markup=False)
    try:
        with RunProgress(quiet=json_) as progress:
            draw(demos, found, episodes=episodes, camera=camera, size=size, fps=fps, bar=progress.bar)
    finally:
        for line in (*found.notes, *map(str, found.files)):
            console.print(line, markup=False, soft_wrap=True)
    if json_:
        names = {"source": found.source, "files": list(map(str, found.files)), "notes": found.notes}
        print(json.dumps({**names, **asdict(found.facts)}, indent=2))
