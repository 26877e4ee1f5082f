"""Episodes on a robot as files: each a robomimic-format demonstration with all that is known of its steps.

    FOLDER/episode_00000.hdf5     one demonstration, `demo_0`; complete when it is there at all
        demo_0/obs/...            every sensor, and eef_pos [3] m, eef_quat [4], gripper_width [1] m
        demo_0/actions            what was done (nothing where the robot held)
        demo_0/robot/...          what `EpisodeLog` says

A file is written, whole or not at all, when its episode has ended: a kill loses the current episode and no
other. What cannot be written (a full disk) stays in memory, and no further episode begins until it is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ibrl_fast.data.demonstration_set import Demonstration
from ibrl_fast.data.demonstrations import read_demonstrations, write_demonstrations
from ibrl_fast.data.hdf5_objects import UNREADABLE, line, open_array, open_group
from ibrl_fast.data.hdf5_seals import check_group, read_dataset
from ibrl_fast.errors import FileError, expect
from ibrl_fast.files import check_output_folder, kind_of
from ibrl_fast.robot.episode import Episode, Step
from ibrl_fast.robot.robot import Array, Observation, RobotInfo
from ibrl_fast.robot.timing import StepTimes

_NAME = re.compile(r"episode_(\d{5,})\.hdf5")
_ARRAYS = ("proposed", "asked", "source", "step_times", "tick_times", "candidates", "scores", "facts")
_LOG = "robot"


@dataclass(frozen=True, eq=False)
class EpisodeLog:
    """What a file says of an episode beside the demonstration; T steps, N >= T ticks of the loop."""

    proposed: Array
    """`[T, action_dim]` float32, what the policy answered; 0 where it was not asked."""
    asked: Array
    """`[T]` uint8, whether the policy was asked."""
    source: Array
    """`[T]` int64, 0 = RL, 1 = IL, -1 = not known."""
    step_times: Array
    """`[T, 6]` float64, the fields of `StepTimes` of every step, s; NaN where something did not happen."""
    tick_times: Array
    """`[N, 6]` float64, the same of every tick."""
    candidates: Array
    """`[T, P, action_dim]` float32, the proposals; P = 0 where the policy does not say."""
    scores: Array
    """`[T, P]` float32, how it valued them."""
    facts: Mapping[str, Any]
    """`outcome`, `detail`, `mode`, `period`, `missed`, `held` (by step), `interventions` (by step), ..."""

    @property
    def times(self) -> list[StepTimes]:
        """Of every tick."""
        return [StepTimes(*(None if np.isnan(v) else float(v) for v in row)) for row in self.tick_times]  # type: ignore[arg-type]


class EpisodeRecorder:
    """Keeps a client's episodes in a folder; a `Recorder`.

    Args:
        folder: made where it is not there; episodes are numbered after those that it has.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = check_output_folder(folder, "recording")
        self.unsaved: list[tuple[Path, Episode]] = []
        """Episodes that could not be written yet."""
        self._facts: dict[str, Any] = {}
        self._next = 1 + max((number for number, _ in _numbered(self.folder)), default=-1)

    def prepare(self, info: RobotInfo, facts: Mapping[str, object]) -> None:
        """Write what could not be written before, and make sure that more can be."""
        self._facts = {"robot": info.name, **facts}
        self.save()
        check_output_folder(self.folder, "recording")

    def keep(self, episode: Episode) -> None:
        """Write an episode; one without a single step leaves no file."""
        if episode.steps:
            path = self.folder / f"episode_{self._next:05d}.hdf5"
            self._next += 1
            self.unsaved.append((path, episode))
            self.save()

    def save(self) -> None:
        """Write the episodes that are not written yet; those that cannot be stay."""
        while self.unsaved:
            path, episode = self.unsaved[0]
            write_episode(path, episode, self._facts)
            del self.unsaved[0]


def write_episode(path: Path, episode: Episode, facts: Mapping[str, Any]) -> None:
    """Write one episode of at least one step as a file of its own.

    Args:
        path: the file.
        episode: one that has ended.
        facts: plain values to keep with it.

    Raises:
        FileError: the file cannot be written.
    """
    steps = episode.steps
    size = steps[0].action.shape
    asked = [step.proposed is not None for step in steps]
    proposed = [np.zeros(size, np.float32) if s.proposed is None else s.proposed for s in steps]
    known = [step.candidates for step in steps if step.candidates is not None]
    choices = (0, *size) if len(known) < len(steps) else known[0].shape
    log: dict[str, Array] = {
        "proposed": np.array(proposed, np.float32),
        "asked": np.array(asked, np.uint8),
        "source": np.array([-1 if step.source is None else step.source for step in steps], np.int64),
        "step_times": _times([step.times for step in steps]),
        "tick_times": _times(episode.times),
        "candidates": np.array(
            [s.candidates if choices[0] else np.zeros(choices) for s in steps], np.float32
        ),
        "scores": np.array([s.scores if choices[0] else np.zeros(0) for s in steps], np.float32),
        "facts": _text(
            {
                **facts,
                "outcome": episode.outcome,
                "detail": episode.detail,
                "missed": episode.missed,
                "held_ticks": episode.held,
                "held": [step.held for step in steps],
                "interventions": [[astuple(rule) for rule in step.interventions] for step in steps],
            }
        ),
    }
    last = np.arange(len(steps)) == len(steps) - 1
    demo = Demonstration(
        _observations(steps, episode.last or steps[-1].observation),
        np.array([step.action for step in steps], np.float32),
        np.array([step.reward for step in steps], np.float32),
        last & episode.terminated,
        last & episode.truncated,
    )
    arguments = {"env_name": f"robot/{facts.get('robot', 'robot')}", "type": 0, "env_kwargs": {}}
    write_demonstrations(
        path, [demo], arguments, extra=[{f"{_LOG}/{name}": values for name, values in log.items()}]
    )


def read_log(path: str | os.PathLike[str]) -> EpisodeLog:
    """Read what a recorded file says of its episode beside the demonstration.

    Raises:
        FileError: no file, or one that was not recorded on a robot, or a damaged one.
    """
    if kind_of(path) != "a regular file":
        raise FileError(f"{path}: expected a recorded episode, got {kind_of(path)}")
    try:
        with h5py.File(path, "r") as file:
            demo = open_group(open_group(file, "data"), "demo_0")
            check_group(demo, sealed=True)
            group = open_group(demo, _LOG)
            arrays = {name: read_dataset(open_array(group, name), sealed=True) for name in _ARRAYS}
        facts = json.loads(arrays.pop("facts").tobytes())
        return EpisodeLog(**arrays, facts=dict(facts))
    except (*UNREADABLE, ValueError, TypeError) as error:
        raise FileError(f"{path}: expected a recorded episode, got: {line(error)}") from error


def recorded_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files of a folder's episodes in their order; a single file stands for itself.

    Raises:
        ArgumentError: there are none.
    """
    place = Path(folder)
    files = [path for _, path in _numbered(place)] if place.is_dir() else [place] if place.is_file() else []
    expect(bool(files), "recording", "a folder with episode_*.hdf5, or one such file", folder)
    return files


def join_episodes(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], *, only_success: bool = False
) -> tuple[int, int]:
    """Write the episodes in which this robot was moved as one file of demonstrations.

    Dry runs, and shadow runs in which somebody moved the robot by other means, are left out: their actions
    are not what was done. The file has the mask `success` where there is any.

    Args:
        folder: of a recorder.
        out: the file to write.
        only_success: leave out episodes that did not succeed.

    Returns:
        How many episodes were written, and how many left out.

    Raises:
        UserError: no episode is left, or episodes differ in their observations.
    """
    demos: list[Demonstration] = []
    arguments: Mapping[str, Any] = {}
    files = recorded_files(folder)
    for path in files:
        facts = read_log(path).facts
        was_moved = facts.get("mode", "run") == "run" or facts.get("mover") is True
        if was_moved and (facts["outcome"] == "success" or not only_success):
            recorded = read_demonstrations(path)
            demos.append(recorded[0])
            arguments = recorded.env_args
    expect(bool(demos), "recording", "at least one episode to write", f"none among {len(files)}")
    success = [number for number, demo in enumerate(demos) if demo.success]
    write_demonstrations(out, demos, arguments, masks={"success": success} if success else None)
    return len(demos), len(files) - len(demos)


def _observations(steps: Sequence[Step], last: Observation) -> dict[str, Array]:
    """Return every sensor over all steps and after the last, `[T + 1, ...]`."""
    seen = [*(step.observation for step in steps), last]
    found: dict[str, Array] = {
        "eef_pos": np.array([entry.state.position for entry in seen], np.float32),
        "eef_quat": np.array([entry.state.rotation for entry in seen], np.float32),
        "gripper_width": np.array([[entry.state.gripper_width] for entry in seen], np.float32),
    }
    for name in seen[0].sensors:
        if all(name in entry.sensors for entry in seen):
            found[name] = np.array([entry.sensors[name].value for entry in seen])
    # sensors that the policy does not need may fail; a file must not fail with them
    return {name: values for name, values in found.items() if np.isfinite(values).all()}


def _times(steps: Sequence[StepTimes]) -> Array:
    return np.array([astuple(step) for step in steps], dtype=np.float64).reshape(len(steps), 6)


def _text(values: Mapping[str, Any]) -> Array:
    return np.frombuffer(json.dumps(values, default=str).encode(), np.uint8)


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    matches = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted((int(match[1]), path) for match, path in matches if match is not None)
