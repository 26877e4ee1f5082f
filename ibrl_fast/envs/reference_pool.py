"""The reference backend: a suite's own Python environments, stepped in turn in the calling process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.base_pool import BasePool, Observations, PoolState
from ibrl_fast.envs.episode import Episode, StepResult
from ibrl_fast.envs.exclusive import exclusive
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.stacking import FRAMES, ObservationStacker
from ibrl_fast.envs.suite import AbilityError, SuiteEnv, TaskInfo
from ibrl_fast.errors import ArgumentError, describe
from ibrl_fast.seeding import derive_env_seed

if TYPE_CHECKING:
    from ibrl_fast.envs.renderer import Renderer


class ReferencePool(BasePool):
    """N environments of a suite behind the face of `BasePool`; every other backend must equal it.

    Args:
        task: from `resolve_task`.
        options: as `TaskInfo.resolve` returns them.
        make_env: of the task's suite.
    """

    _BYTES_PER_ENV = 4_000_000

    def __init__(
        self, task: TaskInfo, options: PoolOptions, make_env: Callable[[TaskInfo, PoolOptions], SuiteEnv]
    ) -> None:
        super().__init__(task, options)
        options.check_reference()
        with self._guard.lock:
            self._build(task, options, make_env)

    def _build(
        self, task: TaskInfo, options: PoolOptions, make_env: Callable[[TaskInfo, PoolOptions], SuiteEnv]
    ) -> None:
        self._episodes = [Episode(make_env(task, options), options) for _ in range(self.num_envs)]
        self._renderers: dict[int, Renderer] = {}
        self._camera_ids = self._place_cameras()
        self._started = np.zeros(self.num_envs, dtype=np.bool_)
        self._needs_reset = np.zeros(self.num_envs, dtype=np.bool_)
        # the latest frame of each, beside its predecessors in the stacker
        size = options.image_size
        picture = (size, size, 3) if options.channels_last else (3, size, size)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(options.image_keys, picture)
        shapes |= {key: (len(task.observations[key]),) for key in options.vector_keys}
        self._observations: Observations = {
            key: np.zeros((self.num_envs, *shapes[key]), space.dtype)
            for key, space in self.entry_spaces.items()
        }
        self._stacker = ObservationStacker(self.num_envs, self.stacks)
        # a machine that cannot render says so here, not in the middle of a run
        if options.image_keys:
            self._renderer(options.image_size)

    @exclusive
    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start new episodes; rows of environments outside the mask keep their last observation."""
        return self._reset(seed, options)

    def _reset(
        self, seed: int | Sequence[int | None] | None, options: dict[str, Any] | None
    ) -> tuple[Observations, dict[str, Any]]:
        self._check_open()
        mask = self._reset_mask(options)
        seeds = self._env_seeds(seed)
        rows = np.flatnonzero(mask)
        for index in rows:
            self._reset_env(int(index), seeds[index])
        self._fill_observations(rows)
        self._stacker.reset(self._observations, rows)
        return self._stack_observations(), {}

    @exclusive
    def step(
        self, actions: npt.NDArray[np.float32]
    ) -> tuple[
        Observations, npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]
    ]:
        """Step every environment with its row of `actions`, float [N, action_dim], clipped to [-1, 1]."""
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
                results[index] = self._episodes[index].step(checked[index])
        self._fill_observations(rows)
        self._stacker.push_and_reset(self._observations, resets_now)

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
            info["final_obs"], info["_final_obs"] = self._stack_observations(), ended.copy()
            info["final_info"], info["_final_info"] = self._final_info(ended, success, diverged), ended.copy()
            for row in np.flatnonzero(ended):
                self._reset_env(int(row), None)
            self._fill_observations(np.flatnonzero(ended))
            self._stacker.reset(self._observations, np.flatnonzero(ended))
        else:
            self._needs_reset |= ended
        return self._stack_observations(), reward, terminated.copy(), truncated.copy(), info

    @exclusive
    def get_state(self) -> PoolState:
        """Return named arrays with a leading axis N, as the suite lays them out. Needs one reset before."""
        self._check_open()
        self.task.require("saves_state", "get_state")
        self._check_started(stepping=False)
        return self._read_state()

    def _read_state(self) -> PoolState:
        states = [env.get_state() for env in self._episodes]
        stacked = {key: np.stack([state[key] for state in states]) for key in states[0]}
        frames = {
            FRAMES + key: value for key, value in self._stacker.state_dict().items() if self.stacks[key] > 1
        }
        return {**stacked, **frames, "needs_reset": self._needs_reset.copy()}

    @exclusive
    def set_state(self, state: PoolState) -> Observations:
        """Restore what `get_state` returned, also in a fresh process; return the current observations.

        A state that is refused changes nothing.
        """
        self._check_open()
        self.task.require("saves_state", "set_state")
        started = self._started.copy()
        if not started.all():
            self._reset(None, {"reset_mask": ~started})
        before = self._read_state()
        try:
            state = self._check_state(state, before)
        except BaseException:
            self._started[:] = started
            raise
        try:
            return self._write_state(state)
        except BaseException:
            self._write_state(before)
            raise

    def _write_state(self, state: PoolState) -> Observations:
        for index, env in enumerate(self._episodes):
            own = {key: value[index] for key, value in state.items() if not key.startswith(FRAMES)}
            env.set_state({key: value for key, value in own.items() if key != "needs_reset"})
        self._needs_reset[:] = state["needs_reset"]
        self._fill_observations(range(self.num_envs))
        self._stacker.reset(self._observations)
        frames = {key: state[FRAMES + key] for key, stack in self.stacks.items() if stack > 1}
        self._stacker.load_state_dict({**self._stacker.state_dict(), **frames})
        return self._stack_observations()

    @exclusive
    def render_frames(
        self,
        env_ids: Sequence[int] | None = None,
        *,
        camera: str | None = None,
        image_size: int | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Return upright pictures uint8 [n, H, W, 3]; of the pool's first camera and size by default."""
        self._check_open()
        self._check_started(stepping=False)
        size = self._check_image_size(image_size)
        if not self.options.cameras:
            raise AbilityError(f"render_frames: expected a task with cameras, got {self.task.name}")
        camera_id = self._find_camera(self.options.cameras[0] if camera is None else camera)
        renderer = self._renderer(size)
        rows = self._check_env_ids(env_ids)
        pictures = np.empty((len(rows), size, size, 3), dtype=np.uint8)
        for picture, index in zip(pictures, rows, strict=True):
            env = self._episodes[index].env
            picture[:] = renderer.render(env.model, env.data, camera_id)
        return pictures

    def close_extras(self, **kwargs: Any) -> None:
        """Free renderers; called once by `close`."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    # ---- one environment ----

    def _reset_env(self, index: int, seed: int | None) -> None:
        """Start an episode; the pool's own seed serves an environment that has never been reset."""
        if seed is None and not self._started[index] and self.task.abilities.seeds:
            seed = derive_env_seed(self.options.seed, index)
        self._episodes[index].reset(seed)
        self._started[index] = True
        self._needs_reset[index] = False

    def _final_info(
        self, ended: npt.NDArray[np.bool_], success: npt.NDArray[np.bool_], diverged: npt.NDArray[np.bool_]
    ) -> dict[str, npt.NDArray[Any]]:
        """Return facts about the episodes that ended, zero in the other rows."""
        elapsed = np.array([env.elapsed_steps for env in self._episodes], dtype=np.int64)
        returns = np.array([env.episode_return for env in self._episodes], dtype=np.float64)
        return {
            "success": success & ended,
            "diverged": diverged & ended,
            "elapsed_steps": np.where(ended, elapsed, 0),
            "episode_return": np.where(ended, returns, 0.0),
        }

    # ---- observations ----

    def _fill_observations(self, rows: Sequence[int] | range | npt.NDArray[np.intp]) -> None:
        """Write the current observation of the given environments into the pool's buffers."""
        for index in rows:
            episode = self._episodes[index]
            for key in self.options.vector_keys:
                self._observations[key][index] = episode.vectors[key]
            for camera in self.options.image_keys:
                renderer = self._renderer(self.options.image_size)
                picture = renderer.render(episode.env.model, episode.env.data, self._camera_ids[camera])
                layout = (0, 1, 2) if self.options.channels_last else (2, 0, 1)
                self._observations[camera][index] = picture.transpose(layout)

    def _stack_observations(self) -> Observations:
        """Return the observations of all environments as they are handed out, in memory of their own."""
        stacked = self._stacker.stacked()
        if self.options.channels_last:
            # frames were stacked along their rows: [N, k * H, W, 3] -> [N, H, W, k * 3]
            for camera in self.options.image_keys:
                size = self.options.image_size
                frames = stacked[camera].reshape(self.num_envs, self.stacks[camera], size, size, 3)
                flat = np.moveaxis(frames, 1, 3).reshape(self.num_envs, size, size, -1)
                stacked[camera] = np.ascontiguousarray(flat)
        return stacked

    def _renderer(self, size: int) -> Renderer:
        """Return the renderer for pictures of this size, made on first use."""
        from ibrl_fast.envs.renderer import Renderer

        if size not in self._renderers:
            options = self.options
            self._renderers[size] = Renderer(
                self._episodes[0].env.model,
                size,
                shadows=options.shadows,
                shadow_size=options.shadow_size,
                multisample=options.multisample,
            )
        return self._renderers[size]

    def _place_cameras(self) -> dict[str, int]:
        """Move cameras to their configured positions; return the ids of the observed ones."""
        for camera, position in (self.options.camera_positions or {}).items():
            camera_id = self._find_camera(camera)
            for episode in self._episodes:
                episode.env.model.cam_pos[camera_id] = position
        for camera, quaternion in (self.options.camera_quaternions or {}).items():
            from ibrl_fast.envs.renderer import turn_camera

            for episode in self._episodes:
                turn_camera(episode.env.model, self._find_camera(camera), np.array(quaternion))
        return {camera: self._find_camera(camera) for camera in self.options.cameras or ()}

    def _find_camera(self, name: str) -> int:
        model = self._episodes[0].env.model
        names = [model.camera(index).name for index in range(model.ncam)]
        if name not in names:
            raise ArgumentError(f"cameras: expected names among {', '.join(names)}, got {describe(name)}")
        return names.index(name)

    # ---- checks ----

    def _check_started(self, *, stepping: bool = True) -> None:
        self._check_running(self._started, self._needs_reset, stepping=stepping)
