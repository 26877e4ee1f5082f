"""The reference backend: the published Python environments, stepped in turn in the calling process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.base_pool import BasePool, Observations, PoolState, derive_env_seed
from ibrl_fast.envs.metaworld_env import MetaworldEnv, StepResult
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.registry import TaskInfo
from ibrl_fast.envs.rendering import Renderer


class ReferencePool(BasePool):
    """N published environments behind the face of `BasePool`; every other backend must equal it."""

    def __init__(self, task: TaskInfo, options: PoolOptions) -> None:
        super().__init__(task, options)
        if options.num_threads not in (None, 1):
            raise ValueError(
                f"num_threads: expected None or 1 for the reference backend, got {options.num_threads}"
            )
        self._envs = [MetaworldEnv(task, options) for _ in range(self.num_envs)]
        self._renderers: dict[int, Renderer] = {}
        self._camera_ids = self._place_cameras()
        self._started = np.zeros(self.num_envs, dtype=np.bool_)
        self._needs_reset = np.zeros(self.num_envs, dtype=np.bool_)
        self._observations: Observations = {
            key: np.zeros((self.num_envs, *space.shape), space.dtype)
            for key, space in self.entry_spaces.items()
        }
        # a machine that cannot render says so here, not in the middle of a run
        if options.image_keys:
            self._renderer(options.image_size)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Starts new episodes; rows of environments outside the mask keep their last observation."""
        self._check_open()
        mask = self._reset_mask(options)
        seeds = self._env_seeds(seed)
        for index in np.flatnonzero(mask):
            self._reset_env(int(index), seeds[index])
        self._fill_observations(np.flatnonzero(mask))
        return self._copy_observations(), {}

    def step(
        self, actions: npt.NDArray[np.float32]
    ) -> tuple[
        Observations, npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]
    ]:
        """Steps every environment with its row of `actions` [N, 4]; values outside [-1, 1] are clipped."""
        self._check_open()
        checked = self._check_actions(actions)
        self._check_started()
        rows = range(self.num_envs)
        resets_now = self._needs_reset.copy()
        results: list[StepResult | None] = [None] * self.num_envs
        for index in rows:
            if resets_now[index]:
                self._reset_env(index, None)
            else:
                results[index] = self._envs[index].step(checked[index])
        self._fill_observations(rows)

        reward, flags = np.zeros(self.num_envs, np.float32), np.zeros((4, self.num_envs), np.bool_)
        for index, result in enumerate(results):
            if result is not None:
                reward[index] = result.reward
                flags[:, index] = (result.terminated, result.truncated, result.success, result.diverged)
        terminated, truncated, success, diverged = flags
        info: dict[str, Any] = {"success": success, "diverged": diverged}

        # episodes that ended: at once into the next one, or marked for later
        ended = terminated | truncated
        if ended.any() and self.options.autoreset == "same_step":
            info["final_obs"], info["_final_obs"] = self._copy_observations(), ended.copy()
            info["final_info"], info["_final_info"] = self._final_info(ended, success, diverged), ended.copy()
            for row in np.flatnonzero(ended):
                self._reset_env(int(row), None)
            self._fill_observations(np.flatnonzero(ended))
        else:
            self._needs_reset |= ended
        return self._copy_observations(), reward, terminated.copy(), truncated.copy(), info

    def get_state(self) -> PoolState:
        """Named arrays with a leading axis N; `metaworld_state` lists them. Needs one reset before."""
        self._check_open()
        self._check_started(stepping=False)
        states = [env.get_state() for env in self._envs]
        stacked = {key: np.stack([state[key] for state in states]) for key in states[0]}
        return {**stacked, "needs_reset": self._needs_reset.copy()}

    def set_state(self, state: PoolState) -> Observations:
        """Continues where `get_state` stood, also in a fresh process; returns the current observations."""
        self._check_open()
        for row in np.flatnonzero(~self._started):
            self._reset_env(int(row), None)
        self._check_state(state)
        for index, env in enumerate(self._envs):
            env.set_state({key: value[index] for key, value in state.items() if key != "needs_reset"})
        self._needs_reset[:] = state["needs_reset"]
        self._fill_observations(range(self.num_envs))
        return self._copy_observations()

    def render_frames(
        self,
        env_ids: Sequence[int] | None = None,
        *,
        camera: str | None = None,
        image_size: int | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Upright pictures uint8 [n, H, W, 3]; the pool's first camera and size by default."""
        self._check_open()
        size = self.options.image_size if image_size is None else image_size
        camera_id = self._find_camera(self.options.cameras[0] if camera is None else camera)
        renderer = self._renderer(size)
        rows = range(self.num_envs) if env_ids is None else env_ids
        pictures = np.empty((len(rows), size, size, 3), dtype=np.uint8)
        for picture, index in zip(pictures, rows, strict=True):
            env = self._envs[index].env
            picture[:] = renderer.render(env.model, env.data, camera_id)
        return pictures

    def close_extras(self, **kwargs: Any) -> None:
        """Frees renderers; called once by `close`."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    # ---- one environment ----

    def _reset_env(self, index: int, seed: int | None) -> None:
        """Starts an episode; the pool's own seed serves an environment that has never been reset."""
        if seed is None and not self._started[index]:
            seed = derive_env_seed(self.options.seed, index)
        self._envs[index].reset(seed)
        self._started[index] = True
        self._needs_reset[index] = False

    def _final_info(
        self, ended: npt.NDArray[np.bool_], success: npt.NDArray[np.bool_], diverged: npt.NDArray[np.bool_]
    ) -> dict[str, npt.NDArray[Any]]:
        """Facts about the episodes that ended, zero in the other rows."""
        elapsed = np.array([env.elapsed_steps for env in self._envs], dtype=np.int64)
        returns = np.array([env.episode_return for env in self._envs], dtype=np.float64)
        return {
            "success": success & ended,
            "diverged": diverged & ended,
            "elapsed_steps": np.where(ended, elapsed, 0),
            "episode_return": np.where(ended, returns, 0.0),
        }

    # ---- observations ----

    def _fill_observations(self, rows: Sequence[int] | range | npt.NDArray[np.intp]) -> None:
        """Writes the current observation of the given environments into the pool's buffers."""
        for index in rows:
            env = self._envs[index]
            if self.options.has_state:
                self._observations["state"][index] = env.state
            for camera in self.options.image_keys:
                renderer = self._renderer(self.options.image_size)
                picture = renderer.render(env.env.model, env.env.data, self._camera_ids[camera])
                self._observations[camera][index] = picture.transpose(2, 0, 1)

    def _copy_observations(self) -> Observations:
        return {key: value.copy() for key, value in self._observations.items()}

    def _renderer(self, size: int) -> Renderer:
        """The renderer for pictures of this size, made on first use."""
        if size not in self._renderers:
            self._renderers[size] = Renderer(self._envs[0].env.model, size, shadows=self.options.shadows)
        return self._renderers[size]

    def _place_cameras(self) -> dict[str, int]:
        """Moves cameras to their configured positions; returns the ids of the observed ones."""
        for camera, position in self.options.camera_positions.items():
            camera_id = self._find_camera(camera)
            for env in self._envs:
                env.env.model.cam_pos[camera_id] = position
        return {camera: self._find_camera(camera) for camera in self.options.cameras}

    def _find_camera(self, name: str) -> int:
        model = self._envs[0].env.model
        names = [model.camera(index).name for index in range(model.ncam)]
        if name not in names:
            raise ValueError(f"cameras: expected names among {', '.join(names)}, got {name!r}")
        return names.index(name)

    # ---- checks ----

    def _check_started(self, *, stepping: bool = True) -> None:
        if not self._started.all():
            index = int(np.argmin(self._started))
            raise RuntimeError(f"pool: expected reset() before use, environment {index} has not been reset")
        if stepping and self.options.autoreset == "disabled" and self._needs_reset.any():
            index = int(np.argmax(self._needs_reset))
            raise RuntimeError(
                f"pool: expected reset() after an episode's end, environment {index} has ended"
            )

    def _check_state(self, state: PoolState) -> None:
        """A state must have this pool's names and shapes."""
        expected = self.get_state()
        if set(state) != set(expected):
            missing, extra = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
            raise ValueError(
                f"state: expected the entries of {self.task.name}, missing {missing}, unknown {extra}"
            )
        for key, value in expected.items():
            if np.shape(state[key]) != value.shape:
                raise ValueError(
                    f"state[{key!r}]: expected {list(value.shape)}, got {list(np.shape(state[key]))}"
                )
