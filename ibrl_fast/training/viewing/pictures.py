"""Where pictures of demonstrations come from: images that were recorded, or states that are drawn again."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ibrl_fast.data.demonstration_set import DemonstrationSet
from ibrl_fast.envs import list_tasks, make_pool
from ibrl_fast.envs.base_pool import BasePool
from ibrl_fast.envs.registry import find_suite, full_name
from ibrl_fast.envs.state_vectors import with_vector
from ibrl_fast.errors import ArgumentError, UserError, first_line

Frame = npt.NDArray[np.uint8]
"""Upright picture [H, W, 3]."""


class NoPicturesError(UserError, ValueError):
    """Demonstrations of which no pictures can be made; the message says why, in one line."""


class Pictures(Protocol):
    """Pictures of every step of every demonstration."""

    @property
    def source(self) -> str:
        """What they are, in words."""

    def count(self, number: int) -> int:
        """Return how many there are of a demonstration."""

    def frame(self, number: int, step: int) -> Frame:
        """Return the picture of one step."""

    def close(self) -> None:
        """Free what draws them."""


class StoredPictures:
    """Images of a camera as they were recorded, each pixel enlarged to a square of pixels.

    Args:
        demos: with images of that camera.
        camera: its name.
        size: height and width that a picture fills as far as whole factors allow, pixels.
    """

    def __init__(self, demos: DemonstrationSet, camera: str, size: int) -> None:
        self._demos = demos
        self._camera = camera
        height, width = demos.observation_space[camera].shape[1:]
        self._factor = max(1, size // max(height, width))
        self.source = f"stored images of {camera}, {height} x {width} pixels"

    def count(self, number: int) -> int:
        """Return T + 1: the final observation has an image too."""
        return len(self._demos[number]) + 1

    def frame(self, number: int, step: int) -> Frame:
        """Return a recorded image."""
        image = self._demos[number].observations[self._camera][step].transpose(1, 2, 0)
        return np.ascontiguousarray(image.repeat(self._factor, axis=0).repeat(self._factor, axis=1))

    def close(self) -> None:
        """Do nothing."""


class DrawnPictures:
    """States that were recorded, put into an environment and drawn.

    Args:
        demos: with states, as the task's suite records them or with their layout.
        pool: one environment of their task; closed by `close`.
        camera: of its model; None: the task's first.
        size: height and width, pixels.

    Raises:
        UserError: states of another environment, or nothing draws here.
    """

    def __init__(self, demos: DemonstrationSet, pool: BasePool, camera: str | None, size: int) -> None:
        self._demos = demos
        self._pool = pool
        self._camera = camera
        self._size = size
        make_recording = find_suite(pool.task.suite).make_recording
        self._recording = None if make_recording is None else make_recording(pool.task)
        pool.reset(seed=0)
        self._state = {name: value.copy() for name, value in pool.get_state().items()}
        # what cannot be drawn says so here
        self.frame(0, 0)
        used = camera or next(iter(pool.options.cameras or ()), "")
        self.source = f"drawn from stored states, camera {used}"

    def count(self, number: int) -> int:
        """Return T: states are stored before each step."""
        return len(self._demos[number])

    def frame(self, number: int, step: int) -> Frame:
        """Draw a recorded state."""
        states = self._demos[number].states
        if states is None:
            raise NoPicturesError(f"episode {number}: expected stored states, got none")
        try:
            if self._recording is None:
                layout = self._demos.env_args["env_kwargs"]["state_layout"]
                state = with_vector(self._state, layout, states[step])
            else:
                own = self._recording.restore(states[step], self._demos[number].model_file, None)
                state = {**self._state, **{name: value[None] for name, value in own.items()}}
            self._pool.set_state(state)
        except ArgumentError as error:
            raise NoPicturesError(f"episode {number}, step {step}: {error}") from error
        return self._pool.render_frames(camera=self._camera, image_size=self._size)[0]

    def close(self) -> None:
        """Close the environment."""
        self._pool.close()


def find_pictures(demos: DemonstrationSet, camera: str | None, size: int) -> Pictures:
    """Return the pictures that can be made of demonstrations: stored ones first.

    Args:
        demos: what was read.
        camera: its name; None: the first that is stored, or the task's first.
        size: height and width, pixels.

    Raises:
        NoPicturesError: none can be made.
        ArgumentError: a camera that is not there.
    """
    stored = [key for key, spec in demos.observation_space.items() if spec.is_image]
    if stored and camera in (None, *stored):
        return StoredPictures(demos, camera or stored[0], size)
    try:
        pool = _open_pool(demos)
    except NoPicturesError:
        if stored:
            raise ArgumentError(f"camera: expected one of {', '.join(stored)}, got {camera}") from None
        raise
    try:
        return DrawnPictures(demos, pool, camera, size)
    except ArgumentError:
        pool.close()
        raise
    except UserError as error:
        pool.close()
        raise NoPicturesError(first_line(error)) from error


def _open_pool(demos: DemonstrationSet) -> BasePool:
    """Return an environment that takes the stored states; what is no known task here is not built."""
    kwargs: Any = demos.env_args.get("env_kwargs")
    task = demos.env_args.get("env_name")
    layout = kwargs.get("state_layout") if isinstance(kwargs, dict) else None
    if any(demo.states is None for demo in demos):
        raise NoPicturesError("neither images nor simulator states are stored")
    # other programs know a task by a name of their own
    task = full_name(task) if isinstance(task, str) else task
    is_recorded = task in list_tasks() and find_suite(task.split("/")[0]).make_recording is not None
    if not isinstance(layout, dict) and not is_recorded:
        raise NoPicturesError(
            "no images are stored, and the layout of the stored states is not this package's"
        )
    if task not in list_tasks():
        raise NoPicturesError(f"no images are stored, and their task {task} cannot be drawn here")
    try:
        return make_pool(str(task))
    except UserError as error:
        raise NoPicturesError(first_line(error)) from error
