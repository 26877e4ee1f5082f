"""N environments at the agent's rate, as a pool of Python environments steps them: here, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ibrl_fast.envs.episode import Episode, StepResult
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.suite import SuiteEnv, TaskInfo
from ibrl_fast.envs.views import make_views

Observations = dict[str, npt.NDArray[Any]]


class EpisodeGroup(Protocol):
    """N environments with action repeat and time limits; what a pool adds seeds, stacks and autoreset to."""

    def reset(self, seeds: Mapping[int, int | None]) -> None:
        """Start episodes in some environments: of a seed, or (None) the next of their own streams."""

    def step(self, actions: Mapping[int, npt.NDArray[np.float32]]) -> dict[int, StepResult]:
        """Take one agent step in some environments, each action float32 [action_dim] in [-1, 1]."""

    def observe(self, rows: Iterable[int], observations: Observations) -> None:
        """Write the current frames of some environments into their rows of arrays [N, ...]."""

    def check_camera(self, camera: str | None) -> None:
        """Raise an ArgumentError unless there is such a camera."""

    def picture(self, row: int, camera: str | None, size: int) -> npt.NDArray[np.uint8]:
        """Return an environment's current picture, uint8 [size, size, 3]; None: that of videos."""

    def close(self) -> None:
        """Free what the environments hold."""


class LocalEpisodes:
    """N environments stepped one after the other.

    Args:
        task: of all of them.
        options: of the pool.
        make_env: of the task's suite.
    """

    def __init__(
        self, task: TaskInfo, options: PoolOptions, make_env: Callable[[TaskInfo, PoolOptions], SuiteEnv]
    ) -> None:
        count = int(options.num_envs)
        self._options = options
        self._episodes = [Episode(make_env(task, options), options) for _ in range(count)]
        self.views = make_views(task, options, [episode.env for episode in self._episodes])

    def __getitem__(self, row: int) -> Episode:
        return self._episodes[row]

    def __len__(self) -> int:
        return len(self._episodes)

    def reset(self, seeds: Mapping[int, int | None]) -> None:
        """Start episodes, in the order given."""
        for row, seed in seeds.items():
            self._episodes[row].reset(seed)

    def step(self, actions: Mapping[int, npt.NDArray[np.float32]]) -> dict[int, StepResult]:
        """Take one agent step each, in the order given."""
        return {row: self._episodes[row].step(action) for row, action in actions.items()}

    def observe(self, rows: Iterable[int], observations: Observations) -> None:
        """Write vectors, and pictures in the layout that the options ask for."""
        options = self._options
        for row in rows:
            vectors = self._episodes[row].vectors
            for key in options.vector_keys:
                observations[key][row] = vectors[key]
            for camera in options.image_keys:
                picture = self.views.picture(row, camera, options.image_size)
                observations[camera][row] = in_layout(picture, options)

    def check_camera(self, camera: str | None) -> None:
        """Raise an ArgumentError unless there is such a camera."""
        self.views.check_camera(camera)

    def picture(self, row: int, camera: str | None, size: int) -> npt.NDArray[np.uint8]:
        """Return an environment's current picture."""
        return self.views.picture(row, camera, size)

    def close(self) -> None:
        """Free what draws."""
        self.views.close()


def frame_spaces(task: TaskInfo, options: PoolOptions) -> dict[str, spaces.Box]:
    """Return what one environment's frame of every observed key is, before frames are stacked."""
    frames = {
        key: spaces.Box(-np.inf, np.inf, (len(task.observations[key]),), np.float32)
        for key in options.vector_keys
    }
    size = options.image_size
    picture = (size, size, 3) if options.channels_last else (3, size, size)
    return frames | {key: spaces.Box(0, 255, picture, np.uint8) for key in options.image_keys}


def in_layout(picture: npt.NDArray[np.uint8], options: PoolOptions) -> npt.NDArray[np.uint8]:
    """Return a picture uint8 [H, W, 3] with its axes as the pool hands them out."""
    return picture if options.channels_last else picture.transpose(2, 0, 1)
