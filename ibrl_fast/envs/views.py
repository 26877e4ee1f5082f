"""Pictures of the environments of one process: drawn by MuJoCo, or what the environments themselves give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.suite import TaskInfo
from ibrl_fast.errors import ArgumentError, describe

if TYPE_CHECKING:
    from ibrl_fast.envs.renderer import Renderer


class Views(Protocol):
    """Pictures of N environments."""

    def check_camera(self, camera: str | None) -> None:
        """Raise an ArgumentError unless there is such a camera."""

    def picture(self, row: int, camera: str | None, size: int) -> npt.NDArray[np.uint8]:
        """Return an environment's current picture, upright, uint8 [size, size, 3]; None: that of videos."""

    def close(self) -> None:
        """Free what draws."""


def make_views(task: TaskInfo, options: PoolOptions, envs: Sequence[Any]) -> Views:
    """Return the views of a task's environments."""
    return OwnViews(task, envs) if task.abilities.own_pictures else MujocoViews(options, envs)


class MujocoViews:
    """What MuJoCo draws of N environments (`DrawnEnv`); renderers are made on first use."""

    def __init__(self, options: PoolOptions, envs: Sequence[Any]) -> None:
        self._options = options
        self._envs = envs
        self._renderers: dict[int, Renderer] = {}
        self._place_cameras()
        self._camera_ids = {camera: self._find_camera(camera) for camera in options.cameras or ()}
        # a machine that cannot render says so here, not in the middle of a run
        if options.image_keys:
            self.renderer(options.image_size)

    def check_camera(self, camera: str | None) -> None:
        """Raise an ArgumentError unless the model has the camera."""
        if camera is not None:
            self._find_camera(camera)

    def picture(self, row: int, camera: str | None, size: int) -> npt.NDArray[np.uint8]:
        """Draw; None: the first of the cameras that were chosen."""
        name = next(iter(self._camera_ids)) if camera is None else camera
        if name not in self._camera_ids:
            self._camera_ids[name] = self._find_camera(name)
        env = self._envs[row]
        return self.renderer(size).render(env.model, env.data, self._camera_ids[name])

    def close(self) -> None:
        """Free renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def renderer(self, size: int) -> Renderer:
        """Return the renderer for pictures of this size, made on first use."""
        from ibrl_fast.envs.renderer import Renderer

        if size not in self._renderers:
            options = self._options
            self._renderers[size] = Renderer(
                self._envs[0].model,
                size,
                shadows=options.shadows,
                shadow_size=options.shadow_size,
                multisample=options.multisample,
            )
        return self._renderers[size]

    def _place_cameras(self) -> None:
        """Move and turn cameras as configured."""
        for camera, position in (self._options.camera_positions or {}).items():
            camera_id = self._find_camera(camera)
            for env in self._envs:
                env.model.cam_pos[camera_id] = position
        for camera, quaternion in (self._options.camera_quaternions or {}).items():
            from ibrl_fast.envs.renderer import turn_camera

            for env in self._envs:
                turn_camera(env.model, self._find_camera(camera), np.array(quaternion))

    def _find_camera(self, name: str) -> int:
        model = self._envs[0].model
        names = [model.camera(index).name for index in range(model.ncam)]
        if name not in names:
            raise ArgumentError(f"cameras: expected names among {', '.join(names)}, got {describe(name)}")
        return names.index(name)


class OwnViews:
    """What N environments (`PicturedEnv`) give themselves."""

    def __init__(self, task: TaskInfo, envs: Sequence[Any]) -> None:
        self._task = task
        self._envs = envs

    def check_camera(self, camera: str | None) -> None:
        """Raise an ArgumentError unless the task has the camera."""
        check_own_camera(self._task, camera)

    def picture(self, row: int, camera: str | None, size: int) -> npt.NDArray[np.uint8]:
        """Ask the environment."""
        picture: npt.NDArray[np.uint8] = self._envs[row].picture(camera, size)
        return picture

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs:
            env.close()


def check_own_camera(task: TaskInfo, camera: str | None) -> None:
    """Raise an ArgumentError unless a task's environments observe through the camera; None: any."""
    if camera is not None and camera not in task.cameras:
        known = f"names among {', '.join(task.cameras)}" if task.cameras else "none"
        raise ArgumentError(f"cameras: expected {known} for {task.name}, got {describe(camera)}")
