"""Demonstrations made visible: a film, a contact sheet, a plot over time, and their facts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ibrl_fast.data.demonstration_facts import DemoFacts, EpisodeFacts, demo_facts
from ibrl_fast.data.demonstrations import DemonstrationSet, read_demonstrations
from ibrl_fast.errors import ArgumentError, expect
from ibrl_fast.files import check_output_folder
from ibrl_fast.training.imitation import DEMOS_NAME
from ibrl_fast.training.records.run_folder import RUN_NAMES, VIDEO_NAME
from ibrl_fast.training.records.video import write_frames
from ibrl_fast.training.viewing.pictures import Frame, NoPicturesError, Pictures, find_pictures
from ibrl_fast.training.viewing.sheet import contact_sheet, save_picture, titled
from ibrl_fast.training.viewing.signals import plot_signals

FILM_NAME = "demonstrations.mp4"
SHEET_NAME = "contact_sheet.png"
PLOT_NAME = "signals.png"
OUT_NAMES = (FILM_NAME, SHEET_NAME, PLOT_NAME)
DRAWN_EPISODES = 12
"""Drawn where none are chosen: the first."""
SHEET_COLUMNS = 8
FRAMES_PER_SECOND = 20.0
"""Of a film whose control period is unknown."""

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Description and total -> a display that is told how many are done."""


@dataclass
class View:
    """What was found and made.

    Attributes:
        source: the file or data set.
        facts: of the chosen demonstrations.
        out: the folder of the pictures.
        files: those that were written, in their order.
        notes: one line each.
    """

    source: str
    facts: DemoFacts
    out: Path
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def demo_source(path: Path) -> Path:
    """Return the demonstrations that a path names: its own, or those in a run's folder.

    Raises:
        ArgumentError: a run's folder without any.
    """
    if not path.is_dir() or not any((path / name).exists() for name in (*RUN_NAMES, DEMOS_NAME)):
        return path
    file = path / DEMOS_NAME
    expect(file.exists(), "view", f"a run's folder with {DEMOS_NAME}", path)
    return file


def read_view(path: Path, episodes: Sequence[int], out: Path) -> tuple[DemonstrationSet, View]:
    """Read demonstrations and what is to be said of them.

    Args:
        path: a file, a Minari data set or a run's folder.
        episodes: numbers of those that count; none: all.
        out: folder of their pictures.

    Raises:
        ArgumentError: a number that is not there.
        DemonstrationError: they cannot be read.
    """
    source = demo_source(path)
    last = max(episodes, default=-1)
    expect(all(number >= 0 for number in episodes), "episodes", "numbers of at least 0", list(episodes))
    demos = read_demonstrations(
        source, max_demos=last + 1 if episodes else None, clip_actions=True, needs_rewards=False
    )
    expect(last < len(demos), "episodes", f"numbers in [0, {len(demos) - 1}]", list(episodes))
    view = View(str(source), demo_facts(demos, episodes or range(len(demos))), out)
    view.notes += demos.remarks
    if source != path and (path / VIDEO_NAME).exists():
        view.notes.append(f"the run's evaluation is filmed in {path / VIDEO_NAME}")
    return demos, view


def choose_out(path: Path, out: Path | None, *, overwrite: bool) -> Path:
    """Return the folder for pictures: one that is not there yet, or the one that was asked for, made.

    Args:
        path: what is looked at.
        out: the user's; None: `views/NAME`, or `NAME_2` and so on where something lies there.
        overwrite: pictures that lie in `out` may be replaced.

    Raises:
        ArgumentError: pictures lie there.
        FileError: no folder can be made there.
    """
    if out is None:
        name = path.name.rpartition(":")[2].removesuffix(path.suffix if path.is_file() else "")
        candidate, number = Path("views") / (name or "view"), 1
        while not overwrite and os.path.lexists(candidate):
            number += 1
            candidate = Path("views") / f"{name or 'view'}_{number}"
        return candidate
    there = [name for name in OUT_NAMES if os.path.lexists(out / name)]
    if there and not overwrite:
        raise ArgumentError(
            f"out: expected a folder without {', '.join(there)}, got {out}; --overwrite replaces them"
        )
    return check_output_folder(out, "out")


def draw(
    demos: DemonstrationSet,
    view: View,
    *,
    episodes: Sequence[int],
    camera: str | None,
    size: int,
    fps: float | None,
    bar: Bar,
) -> None:
    """Write the plot, the contact sheet and the film into `view.out`; `view` is told of each.

    Args:
        demos: what was read.
        view: of them.
        episodes: numbers of those that are drawn; none: the first `DRAWN_EPISODES`.
        camera: its name; None: the first that is stored, or the task's.
        size: height and width of a picture, pixels.
        fps: of the film; None: as fast as it was, by the control period that the file records.
        bar: shows progress.

    Raises:
        KeyboardInterrupt: what was written stays, the film up to there too.
    """
    facts = {episode.episode: episode for episode in view.facts.episodes}
    drawn = list(episodes or facts)[: None if episodes else DRAWN_EPISODES]
    if len(drawn) < len(facts):
        view.notes.append(f"drawn are the first {len(drawn)} of {len(facts)} demonstrations")
    view.files.append(plot_signals(demos, drawn, view.out / PLOT_NAME))
    try:
        pictures = find_pictures(demos, camera, size)
    except NoPicturesError as error:
        view.notes.append(f"no film and no contact sheet: {error}")
        return
    view.notes.append(f"pictures are {pictures.source}")
    with closing(pictures):
        steps = {number: _spread(pictures.count(number), SHEET_COLUMNS) for number in drawn}
        rows: list[tuple[str, list[tuple[str, Frame]]]] = []
        with bar("contact sheet", sum(map(len, steps.values()))) as show:
            for number, chosen in steps.items():
                frames = []
                for step in chosen:
                    frames.append((f"step {step}", pictures.frame(number, step)))
                    show(sum(len(done) for _, done in rows) + len(frames))
                rows.append((_title(facts[number]), frames))
        save_picture(contact_sheet(rows), view.out / SHEET_NAME)
        view.files.append(view.out / SHEET_NAME)

        rate = recorded_fps(demos) if fps is None else fps
        total = sum(pictures.count(number) for number in drawn)
        view.files.append(view.out / FILM_NAME)
        with bar("film", total) as show:
            film = _film(pictures, [facts[number] for number in drawn], rate, show)
            try:
                write_frames(view.out / FILM_NAME, film, rate, keep_interrupted=True)
            except BaseException:
                if not (view.out / FILM_NAME).exists():
                    view.files.pop()
                raise


def recorded_fps(demos: DemonstrationSet) -> float:
    """Return the agent steps per second by what a file records; `FRAMES_PER_SECOND` where it does not."""
    kwargs: Any = demos.env_args.get("env_kwargs")
    values = kwargs if isinstance(kwargs, dict) else {}
    period, repeat = values.get("control_period"), values.get("action_repeat", 1)
    if period is None and isinstance(values.get("control_freq"), int | float) and values["control_freq"] > 0:
        period = 1.0 / values["control_freq"]
    if not all(isinstance(value, int | float) and 0.0 < value < 1e6 for value in (period, repeat)):
        return FRAMES_PER_SECOND
    return float(min(1.0 / (period * repeat), 1000.0))


def _film(
    pictures: Pictures, episodes: Sequence[EpisodeFacts], rate: float, show: Callable[[int], None]
) -> Iterator[Frame]:
    """Yield the frames of all episodes, each of which ends on half a second of its last one."""
    done = 0
    for facts in episodes:
        title, frame = _title(facts), None
        for step in range(pictures.count(facts.episode)):
            frame = titled(pictures.frame(facts.episode, step), f"{title.partition(',')[0]}  step {step}")
            yield frame
            done += 1
            show(done)
        assert frame is not None, "an episode has a step"
        yield from [frame] * int(rate / 2)


def _spread(count: int, wanted: int) -> list[int]:
    """Return numbers of [0, count), the first and the last among them, evenly spread."""
    return sorted({int(step) for step in np.linspace(0, count - 1, min(count, wanted)).round()})


def _title(facts: EpisodeFacts) -> str:
    words = [f"episode {facts.episode}", f"{facts.steps} steps"]
    if facts.success is not None:
        words.append("success" if facts.success else "no success")
    if facts.episode_return is not None:
        words.append(f"return {facts.episode_return:.4g}")
    if facts.seed is not None:
        words.append(f"seed {facts.seed}")
    return ", ".join(words)
