"""The native backend: environments stepped, judged and rendered by C++ threads (`csrc/env_pool`)."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast import _core
from ibrl_fast.envs.base_pool import BasePool, Observations, PoolState
from ibrl_fast.envs.checks import check_rand_vec, to_array
from ibrl_fast.envs.exclusive import exclusive
from ibrl_fast.envs.native_library import load_mujoco
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.pool_arrays import NativeStacks, PoolArrays, StepTuple
from ibrl_fast.envs.rendering import choose_device, choose_platform
from ibrl_fast.envs.stacking import FRAMES
from ibrl_fast.envs.suite import TaskInfo
from ibrl_fast.errors import ArgumentError, describe
from ibrl_fast.seeding import derive_env_seed

if not _core.with_mujoco:
    raise ImportError("the compiled module was built without MuJoCo")
load_mujoco()

_LOG = logging.getLogger(__name__)

_READ_HERE = (
    *("seed", "observation", "backend", "frame_stack", "batch_size", "pin_memory"),
    *("success", "state_keys", "proprio_keys"),
)
"""Options that this file reads; the compiled pool reads all others by name and refuses unknown ones."""


def list_native_tasks() -> tuple[str, ...]:
    """Return the full names of the tasks that the native backend has."""
    return tuple(_core.list_native_tasks())


@functools.cache
def _notice_software_rendering(renderer: str) -> None:
    """Say once in a process that pictures are drawn by the processor."""
    _LOG.warning("rendering in software (%s): slow, a GPU with EGL is not here", renderer)


class NativePool(BasePool):
    """N environments stepped by C++ threads without Python's lock; equal to the reference (docs/env_pool.md).

    What `reset`, `step` and `recv` return are views of the pool's own memory: they stay valid during the next
    call and are overwritten by the one after it; copy what must live longer.

    Args:
        task: from `resolve_task`.
        options: as `TaskInfo.resolve` returns them.
        assets: the models that `Suite.find_assets` found.

    Raises:
        ArgumentError: unknown task or camera, or options that do not fit together.
        RenderingUnavailableError: no OpenGL for pictures; names the packages to install.
        RuntimeError: used in a fork or after close.
    """

    _BYTES_PER_ENV = 300_000

    def __init__(self, task: TaskInfo, options: PoolOptions, assets: Path) -> None:
        super().__init__(task, options)
        if task.name not in list_native_tasks():
            raise ArgumentError(
                f"task: expected one of the native backend's {', '.join(list_native_tasks())}, "
                f"got {task.name} (backend='reference' has it)"
            )
        self.batch_size = options.batch_size or self.num_envs
        if self.batch_size > self.num_envs:
            raise ArgumentError(f"batch_size: expected 1 .. {self.num_envs}, got {self.batch_size}")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = int(options.num_threads or cores)
        self.num_threads = min(threads, self.num_envs)
        self.settles_ahead = self._resolve_settle_ahead(threads)
        self._render_device = int(options.render_device)
        draws = bool(options.image_keys)
        if self._render_device >= 0:
            choose_device(self._render_device)  # one that is not there is noticed now, whenever it is to draw
        own = {name: value for name, value in vars(options).items() if name not in _READ_HERE}
        self._pool = _core.EnvPool(
            own
            | {
                "task": task.name,
                "assets": str(assets),
                "num_threads": self.num_threads,
                "settle_ahead": self.settles_ahead,
                "vectors": options.vector_keys,
                "cameras": options.image_keys,
                "stacks": list(self.stacks.values()),
                "render_platform": choose_platform() if draws else "",
                "render_device": choose_device(self._render_device) if draws else -1,
            }
        )
        for camera in options.cameras or ():
            self._check_camera(camera)
        if options.image_keys and self._pool.render_info[2]:
            _notice_software_rendering(self._pool.render_info[1])

        # results alternate between two sets of arrays; asynchronous ones wait in a third until received
        pin_memory = options.pin_memory
        self._sets = [
            PoolArrays(self.entry_spaces, options, self.num_envs, pin_memory=pin_memory) for _ in range(2)
        ]
        self._stacks = NativeStacks(self._pool, self.entry_spaces, options, self.num_envs)
        self._received: list[PoolArrays] = []
        self._home: PoolArrays | None = None
        self._turn = 0
        self._action_shape = (self.num_envs, task.action_dim)
        self._started = np.zeros(self.num_envs, dtype=np.bool_)
        self._all_started = False
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)

    # ---- Gymnasium's face ----

    @exclusive
    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start new episodes; rows of environments outside the mask keep their last observation.

        Beside `reset_mask`, `options` may hold `rand_vec`, float [N, R]: the random vectors that decide start
        and goal of this episode, in the task's own layout (m), instead of drawn ones.
        """
        return self._reset(seed, options)

    def _reset(
        self, seed: int | Sequence[int | None] | None, options: dict[str, Any] | None
    ) -> tuple[Observations, dict[str, Any]]:
        self._check_open()
        options = self._check_reset_options(options)
        rand_vecs = self._check_rand_vec(options.pop("rand_vec", None))
        mask = self._reset_mask(options)
        seeds = self._env_seeds(seed)
        rows = [int(index) for index in np.flatnonzero(mask)]
        words = []
        for index in rows:
            # the pool's own seed serves an environment that has never been reset
            start = seeds[index]
            if start is None and not self._started[index]:
                start = derive_env_seed(self.options.seed, index)
            words.append(None if start is None else _rng_words(start))

        previous, arrays = self._sets[self._turn], self._next_set()
        if not mask.all():
            for key, value in arrays.obs.items():
                value[:] = previous.obs[key]
        vectors = [None if rand_vecs is None else rand_vecs[index].tolist() for index in rows]
        self._pool.reset(rows, words, vectors, arrays.batch)
        self._started |= mask
        self._all_started = bool(self._started.all())
        self._ended &= ~mask
        return arrays.obs, {}

    @exclusive
    def step(self, actions: npt.NDArray[np.float32]) -> StepTuple:
        """Step every environment with its row of `actions`, float [N, action_dim], clipped to [-1, 1]."""
        self._check_open()
        if not self._is_plain(actions):
            actions = self._check_actions(actions)
        self._check_started()
        arrays = self._sets[1 - self._turn]
        any_ended = self._pool.step(actions, arrays.batch)
        if any_ended is None:
            self._check_actions(actions)  # says which one is not finite
        self._turn = 1 - self._turn
        if any_ended and self.options.autoreset == "disabled":
            self._ended |= arrays.terminated | arrays.truncated
        return arrays.result(any_ended)

    # ---- whichever finish first ----

    @exclusive
    def send(self, actions: npt.NDArray[np.float32], env_ids: Sequence[int] | None = None) -> None:
        """Start steps of some environments (default: all) with actions float [n, action_dim], for `recv`.

        Environments still in flight may not be sent again.
        """
        self._check_open()
        ids = self._check_env_ids(env_ids, are_different=True)
        checked = self._check_some_actions(actions, ids)
        self._check_started()
        if self._home is None:
            pin_memory = self.options.pin_memory
            self._home = PoolArrays(self.entry_spaces, self.options, self.num_envs, pin_memory=False)
            self._pool.set_home(self._home.batch)
            self._received = [
                PoolArrays(self.entry_spaces, self.options, self.batch_size, pin_memory=pin_memory)
                for _ in range(2)
            ]
        self._pool.send(checked, ids)

    @exclusive
    def recv(self) -> StepTuple:
        """Wait for `batch_size` environments and return their step; int64 `info["env_id"]` names rows."""
        self._check_open()
        if self._home is None:
            raise RuntimeError("recv: expected send() before")
        self._turn = 1 - self._turn
        arrays = self._received[self._turn]
        ids = np.array(self._pool.recv(self.batch_size, arrays.batch), dtype=np.int64)
        obs, reward, terminated, truncated, info = arrays.result(None)
        if self.options.autoreset == "disabled":
            self._ended[ids] |= terminated | truncated
        return obs, reward, terminated, truncated, {**info, "env_id": ids}

    # ---- states and pictures ----

    @exclusive
    def get_state(self) -> PoolState:
        """Return named arrays with a leading axis N, as the suite lays them out. Needs one reset before."""
        self._check_open()
        self._check_started(stepping=False)
        return self._read_state()

    def _read_state(self) -> PoolState:
        states = [self._pool.get_state(index) for index in range(self.num_envs)]
        stacked = {key: np.stack([np.asarray(state[key]) for state in states]) for key in states[0]}
        return {**stacked, **self._stacks.get()}

    @exclusive
    def set_state(self, state: PoolState) -> Observations:
        """Restore what `get_state` of either backend returned; return the current observations.

        A state that is refused changes nothing.
        """
        self._check_open()
        before = self._read_state()
        state = self._check_state(state, before)
        if not self._all_started:
            self._reset(None, {"reset_mask": ~self._started})
        try:
            self._write_state(state)
        except BaseException:
            self._write_state(before)
            raise
        self._ended[:] = state["needs_reset"] if self.options.autoreset == "disabled" else False
        arrays = self._next_set()
        self._pool.observe(self._stacks.prepare(state), arrays.batch)
        return arrays.obs

    def _write_state(self, state: PoolState) -> None:
        for index in range(self.num_envs):
            own = {key: value[index] for key, value in state.items() if not key.startswith(FRAMES)}
            self._pool.set_state(index, own)

    @exclusive
    def render_frames(
        self,
        env_ids: Sequence[int] | None = None,
        *,
        camera: str | None = None,
        image_size: int | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Return upright pictures uint8 [n, H, W, 3]; by default of the first camera."""
        self._check_open()
        self._check_started(stepping=False)
        name = (self.options.cameras or ())[0] if camera is None else camera
        self._check_camera(name)
        size = self._check_image_size(image_size)
        rows = self._check_env_ids(env_ids)
        device = choose_device(self._render_device)
        return self._pool.render_frames(rows, name, size, choose_platform(), device)

    def close_extras(self, **kwargs: Any) -> None:
        """Join the threads and free their OpenGL contexts; called once by `close`."""
        self._pool.close()

    # ---- checks ----

    @classmethod
    def _count_renderers(cls, options: PoolOptions) -> int:
        return min(int(options.num_threads or 1), int(options.num_envs))

    def _resolve_settle_ahead(self, threads: int) -> bool:
        asked = self.options.settle_ahead
        if asked and threads < 2:
            raise ArgumentError(f"settle_ahead: expected num_threads of at least 2 with it, got {threads}")
        return threads > 1 and self.options.autoreset != "disabled" if asked is None else asked

    def _is_plain(self, actions: Any) -> bool:
        """Return whether actions can go to C++, which checks and clips them; others are checked here."""
        return (
            type(actions) is np.ndarray
            and actions.dtype == np.float32
            and actions.shape == self._action_shape
            and actions.flags.c_contiguous
            and actions.flags.aligned
        )

    def _check_some_actions(self, actions: Any, ids: list[int]) -> npt.NDArray[np.float32]:
        """Actions of the environments `ids`, checked as `step` checks them."""
        expected = (len(ids), self.task.action_dim)
        array = to_array("actions", actions, f"numbers {list(expected)}")
        if array.shape != expected:
            raise ArgumentError(f"actions: expected {list(expected)}, got {list(array.shape)}")
        everyone = np.zeros((self.num_envs, self.task.action_dim), array.dtype)
        everyone[ids] = array
        return self._check_actions(everyone)[ids]

    def _next_set(self) -> PoolArrays:
        self._turn = 1 - self._turn
        return self._sets[self._turn]

    def _check_started(self, *, stepping: bool = True) -> None:
        if not self._all_started or self.options.autoreset == "disabled":
            self._check_running(self._started, self._ended, stepping=stepping)

    def _check_camera(self, name: str) -> None:
        names = self._pool.camera_names
        if name not in names:
            raise ArgumentError(f"cameras: expected names among {', '.join(names)}, got {describe(name)}")

    def _check_rand_vec(self, rand_vec: Any) -> npt.NDArray[np.float64] | None:
        return check_rand_vec(rand_vec, (self.num_envs, self._pool.start_dim))


def _rng_words(seed: int) -> list[int]:
    """State of NumPy's PCG64 generator under a seed, as the published environments seed it; uint64 [6]."""
    state: dict[str, Any] = dict(np.random.PCG64(np.random.SeedSequence(seed)).state)
    value, increment = state["state"]["state"], state["state"]["inc"]
    low = (1 << 64) - 1
    return [
        value >> 64,
        value & low,
        increment >> 64,
        increment & low,
        state["has_uint32"],
        state["uinteger"],
    ]
