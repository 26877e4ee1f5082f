"""The reference backend: a suite's own Python environments, one after the other or as their suite likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.base_pool import BasePool, Observations, PoolState
from ibrl_fast.envs.episode import StepResult
from ibrl_fast.envs.episodes import EpisodeGroup, LocalEpisodes, frame_spaces
from ibrl_fast.envs.exclusive import exclusive
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.stacking import FRAMES, ObservationStacker
from ibrl_fast.envs.suite import AbilityError, TaskInfo
from ibrl_fast.seeding import derive_env_seed


class ReferencePool(BasePool):
    """N environments of a suite behind the face of `BasePool`; every other backend must equal it.

    Args:
        task: from `resolve_task`.
        options: as `TaskInfo.resolve` returns them.
        make_group: makes the environments that step together.
    """

    _BYTES_PER_ENV = 4_000_000

    def __init__(
        self,
        task: TaskInfo,
        options: PoolOptions,
        make_group: Callable[[TaskInfo, PoolOptions], EpisodeGroup],
    ) -> None:
        super().__init__(task, options)
        options.check_reference()
        with self._guard.lock:
            self._build(task, options, make_group)

    def _build(
        self,
        task: TaskInfo,
        options: PoolOptions,
        make_group: Callable[[TaskInfo, PoolOptions], EpisodeGroup],
    ) -> None:
        self._episodes = make_group(task, options)
        self._started = np.zeros(self.num_envs, dtype=np.bool_)
        self._needs_reset = np.zeros(self.num_envs, dtype=np.bool_)
        # the latest frame of each, beside its predecessors in the stacker
        self._observations: Observations = {
            key: np.zeros((self.num_envs, *frame.shape), frame.dtype)
            for key, frame in frame_spaces(task, options).items()
        }
        self._stacker = ObservationStacker(self.num_envs, self.stacks)

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
        self._reset_envs({int(index): seeds[index] for index in rows})
        self._episodes.observe(rows, self._observations)
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
        self._reset_envs({index: None for index in rows if resets_now[index]})
        results = self._episodes.step({index: checked[index] for index in rows if not resets_now[index]})
        self._episodes.observe(rows, self._observations)
        self._stacker.push_and_reset(self._observations, resets_now)

        reward, flags = np.zeros(self.num_envs, np.float32), np.zeros((4, self.num_envs), np.bool_)
        for index, result in results.items():
            reward[index] = result.reward
            flags[:, index] = (result.terminated, result.truncated, result.success, result.diverged)
        terminated, truncated, success, diverged = flags
        info: dict[str, Any] = {"success": success, "diverged": diverged}

        # episodes that ended: at once into the next one, or marked for later
        ended = terminated | truncated
        if ended.any() and self.options.autoreset == "same_step":
            info["final_obs"], info["_final_obs"] = self._stack_observations(), ended.copy()
            info["final_info"], info["_final_info"] = self._final_info(ended, results), ended.copy()
            self._reset_envs({int(row): None for row in np.flatnonzero(ended)})
            self._episodes.observe(np.flatnonzero(ended), self._observations)
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
        local = self._local_episodes()
        states = [local[index].get_state() for index in range(self.num_envs)]
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
        local = self._local_episodes()
        for index in range(self.num_envs):
            own = {key: value[index] for key, value in state.items() if not key.startswith(FRAMES)}
            local[index].set_state({key: value for key, value in own.items() if key != "needs_reset"})
        self._needs_reset[:] = state["needs_reset"]
        self._episodes.observe(range(self.num_envs), self._observations)
        self._stacker.reset(self._observations)
        frames = {key: state[FRAMES + key] for key, stack in self.stacks.items() if stack > 1}
        self._stacker.load_state_dict({**self._stacker.state_dict(), **frames})
        return self._stack_observations()

    def _local_episodes(self) -> LocalEpisodes:
        """Return the environments whose state can be saved, which are in this process."""
        assert isinstance(self._episodes, LocalEpisodes), "only local ones save their state"
        return self._episodes

    @exclusive
    def render_frames(
        self,
        env_ids: Sequence[int] | None = None,
        *,
        camera: str | None = None,
        image_size: int | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Return upright pictures uint8 [n, H, W, 3]; of the pool's size by default.

        Without a camera: of the pool's first one, or what environments with pictures of their own show.
        """
        self._check_open()
        self._check_started(stepping=False)
        size = self._check_image_size(image_size)
        if not (self.options.cameras or self.task.abilities.own_pictures):
            raise AbilityError(f"render_frames: expected a task with cameras, got {self.task.name}")
        self._episodes.check_camera(camera)
        rows = self._check_env_ids(env_ids)
        pictures = np.empty((len(rows), size, size, 3), dtype=np.uint8)
        for picture, index in zip(pictures, rows, strict=True):
            picture[:] = self._episodes.picture(index, camera, size)
        return pictures

    def close_extras(self, **kwargs: Any) -> None:
        """Free renderers and environments; called once by `close`."""
        self._episodes.close()

    # ---- episodes ----

    def _reset_envs(self, seeds: dict[int, int | None]) -> None:
        """Start episodes; the pool's own seed serves an environment that has never been reset."""
        if not seeds:
            return
        if self.task.abilities.seeds:
            for index, seed in seeds.items():
                if seed is None and not self._started[index]:
                    seeds[index] = derive_env_seed(self.options.seed, index)
        self._episodes.reset(seeds)
        self._started[list(seeds)] = True
        self._needs_reset[list(seeds)] = False

    def _final_info(
        self, ended: npt.NDArray[np.bool_], results: dict[int, StepResult]
    ) -> dict[str, npt.NDArray[Any]]:
        """Return facts about the episodes that ended, zero in the other rows."""
        count = self.num_envs
        info: dict[str, npt.NDArray[Any]] = {
            "success": np.zeros(count, np.bool_),
            "diverged": np.zeros(count, np.bool_),
            "elapsed_steps": np.zeros(count, np.int64),
            "episode_return": np.zeros(count, np.float64),
        }
        for index in np.flatnonzero(ended):
            for name, values in info.items():
                values[index] = getattr(results[int(index)], name)
        return info

    # ---- observations ----

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

    # ---- checks ----

    def _check_started(self, *, stepping: bool = True) -> None:
        self._check_running(self._started, self._needs_reset, stepping=stepping)
