"""The face of every pool: Gymnasium's `VectorEnv` with the spaces, seeds and checks of all backends."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ibrl_fast.envs.checks import (
    check_env_ids,
    check_memory,
    check_state,
    to_array,
)
from ibrl_fast.envs.exclusive import Guard
from ibrl_fast.envs.options import PoolOptions, check_integer
from ibrl_fast.envs.suite import Abilities, TaskInfo
from ibrl_fast.errors import ArgumentError, describe
from ibrl_fast.seeding import derive_env_seed

Observations = dict[str, npt.NDArray[Any]]
PoolState = dict[str, npt.NDArray[Any]]

_AUTORESET_MODES = {
    "same_step": AutoresetMode.SAME_STEP,
    "next_step": AutoresetMode.NEXT_STEP,
    "disabled": AutoresetMode.DISABLED,
}


class BasePool(VectorEnv[Observations, npt.NDArray[np.float32], npt.NDArray[Any]]):
    """N environments of one task behind `reset` and `step`.

    Observations are a dict of arrays with a leading axis N: the vectors that were asked for (`state` or
    `proprio`), float32 [N, dim], and one entry per camera, uint8 [N, 3, H, W] (longer where frames are
    stacked). `step` returns (observations, reward float32 [N], terminated bool [N], truncated bool [N],
    info):

    - `info["success"]` bool [N]: the task's success in this step.
    - `info["diverged"]` bool [N]: the physics became unstable; that environment was truncated, and its last
      good state stands in for the final one.
    - when an episode ended under same-step autoreset: `info["final_obs"]`, a dict shaped like the
      observations that holds the true successor of every row (ended or not), `info["_final_obs"]` bool [N],
      and `info["final_info"]` with `success`, `diverged`, `elapsed_steps` and `episode_return` [N] of the
      episodes that ended (mask `info["_final_info"]`).

    `reset(seed=..., options={"reset_mask": bool [N]})` resets the chosen environments alone (`"mask"` is
    accepted too); the other rows keep their last observation. With a seed the new episode is a function of
    that seed alone; an integer gives environment i `derive_env_seed(seed, i)`, a sequence gives each its own
    (None keeps a stream going).

    One thread at a time may call a pool; a call while another is under way raises `PoolInUseError`, and
    `close` waits. A forked child must make pools of its own.
    """

    _BYTES_PER_ENV = 0
    """What a backend's environment takes beside its observations, roughly."""

    def __init__(self, task: TaskInfo, options: PoolOptions) -> None:
        self._guard = Guard()
        check_memory(int(options.num_envs), self._estimate_bytes(task, options))
        self.task = task
        self.options = options
        self.num_envs = int(options.num_envs)
        self.metadata = {"autoreset_mode": _AUTORESET_MODES[options.autoreset], "render_modes": ["rgb_array"]}
        self.render_mode = "rgb_array"

        entries: dict[str, spaces.Box] = {}
        for key in options.vector_keys:
            shape: tuple[int, ...] = (options.stack_of(key) * len(task.observations[key]),)
            entries[key] = spaces.Box(-np.inf, np.inf, shape, np.float32)
        for camera in options.image_keys:
            size, channels = options.image_size, options.stack_of(camera) * 3
            shape = (size, size, channels) if options.channels_last else (channels, size, size)
            entries[camera] = spaces.Box(0, 255, shape, np.uint8)
        self.entry_spaces = entries
        self.stacks = {key: options.stack_of(key) for key in entries}
        self.single_observation_space = spaces.Dict(dict(entries))
        self.single_action_space = spaces.Box(-1.0, 1.0, (task.action_dim,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    @classmethod
    def _estimate_bytes(cls, task: TaskInfo, options: PoolOptions) -> int:
        """Memory that a pool will take, roughly, and rather too little than too much."""
        frame = 3 * options.image_size**2
        observation = sum(options.stack_of(key) * frame for key in options.image_keys)
        observation += sum(
            4 * len(task.observations[key]) * options.stack_of(key) for key in options.vector_keys
        )
        # stacks, two sets of results, final observations, and the spaces' bounds
        copies = 4 + 3 + 2 * (options.autoreset == "same_step")
        total = int(options.num_envs) * (cls._BYTES_PER_ENV + copies * observation)
        if options.image_keys:
            # colour and depth, what is read back, and a shadow map
            total += cls._count_renderers(options) * (16 * options.image_size**2 + 4 * options.shadow_size**2)
        return total

    @classmethod
    def _count_renderers(cls, options: PoolOptions) -> int:
        return 1

    @property
    def state_scale(self) -> npt.NDArray[np.float32]:
        """Unit of each entry of one frame of `state`, float32 [state_dim]; 0 marks entries best masked."""
        return self.task.scale_of("state")

    @property
    def abilities(self) -> Abilities:
        """What the environments can do beyond `reset` and `step`."""
        return self.task.abilities

    # ---- what a backend adds ----

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start new episodes and return (observations, info)."""
        raise NotImplementedError

    def get_state(self) -> PoolState:
        """Return everything that decides the future of all environments, as arrays with a leading axis N.

        Raises:
            AbilityError: the task's environments do not save their state.
        """
        raise NotImplementedError

    def set_state(self, state: PoolState) -> Observations:
        """Restore what `get_state` returned, bit for bit; return the current observations.

        Raises:
            AbilityError: the task's environments do not save their state.
            ArgumentError: a state of another task or pool, or with values that cannot be.
        """
        raise NotImplementedError

    def render_frames(
        self,
        env_ids: Sequence[int] | None = None,
        *,
        camera: str | None = None,
        image_size: int | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Return upright pictures of the current states, uint8 [n, H, W, 3], for videos.

        Raises:
            AbilityError: the task has no cameras.
        """
        raise NotImplementedError

    def render(self) -> tuple[npt.NDArray[np.uint8], ...]:
        """Return one upright picture uint8 [H, W, 3] per environment: `render_frames` for Gymnasium."""
        return tuple(self.render_frames())

    def close(self, **kwargs: Any) -> None:
        """Free what the pool holds, after another thread's call has ended. Harmless when repeated."""
        guard = self._guard
        if guard.is_foreign:
            self.closed = True  # a fork's copy: the pool itself is the parent's
        elif guard.is_mine():
            guard.refuse("close")
        elif not guard.refuses:
            guard.is_closing = True
            try:
                with guard.lock:
                    guard.user = threading.get_ident()
                    super().close(**kwargs)
            finally:
                guard.is_closing = False

    # ---- checks shared by the backends ----

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError("pool: expected an open pool, got one that was closed")

    def _check_actions(self, actions: Any) -> npt.NDArray[np.float32]:
        """Actions as float32 [N, A] clipped to [-1, 1], or a ValueError naming the environment."""
        array = to_array("actions", actions, f"numbers {[self.num_envs, self.task.action_dim]}")
        expected = (self.num_envs, self.task.action_dim)
        if array.shape != expected:
            where = " (environment 0)" if array.ndim != 2 else self._first_difference(array.shape[0])
            raise ArgumentError(f"actions: expected {list(expected)}, got {list(array.shape)}{where}")
        finite = np.isfinite(array).all(axis=1)
        if not finite.all():
            index = int(np.argmin(finite))
            raise ArgumentError(
                f"actions: expected finite values, got {array[index].tolist()} for environment {index}"
            )
        wide = array if array.dtype.kind == "f" else array.astype(np.float64)
        return np.ascontiguousarray(np.clip(wide, -1.0, 1.0), dtype=np.float32)

    def _first_difference(self, rows: int) -> str:
        """Name the first environment that has no action, or the row that has no environment."""
        if rows < self.num_envs:
            return f" (no action for environment {rows})"
        return f" (no environment {self.num_envs})" if rows > self.num_envs else " (environment 0)"

    def _check_state(self, state: Any, expected: PoolState) -> PoolState:
        return check_state(state, expected, self.task.name, self.task.state_limits)

    def _check_env_ids(self, env_ids: Any, *, are_different: bool = False) -> list[int]:
        return check_env_ids(env_ids, self.num_envs, are_different=are_different)

    def _check_image_size(self, image_size: Any) -> int:
        size = self.options.image_size if image_size is None else image_size
        check_integer("image_size", size, minimum=1)
        return int(size)

    @staticmethod
    def _check_reset_options(options: Any) -> dict[str, Any]:
        if options is not None and not isinstance(options, Mapping):
            raise ArgumentError(f"options: expected a mapping such as 'reset_mask', got {describe(options)}")
        return dict(options or {})

    def _check_running(
        self, started: npt.NDArray[np.bool_], ended: npt.NDArray[np.bool_], *, stepping: bool
    ) -> None:
        """Environments must have been reset [N], and again where an episode has ended [N] for good."""
        if not started.all():
            index = int(np.argmin(started))
            raise RuntimeError(f"pool: expected reset() before use, environment {index} has not been reset")
        if stepping and self.options.autoreset == "disabled" and ended.any():
            index = int(np.argmax(ended))
            raise RuntimeError(
                f"pool: expected reset() after an episode's end, environment {index} has ended"
            )

    def _reset_mask(self, options: dict[str, Any] | None) -> npt.NDArray[np.bool_]:
        """Which environments a reset concerns, bool [N]."""
        options = self._check_reset_options(options)
        masks = [options.pop(name) for name in ("reset_mask", "mask") if name in options]
        if options:
            raise ArgumentError(f"options: expected 'reset_mask', got {', '.join(map(repr, options))}")
        if len(masks) > 1:
            raise ArgumentError("options: expected one of 'reset_mask' and 'mask', got both")
        if not masks:
            return np.ones(self.num_envs, dtype=np.bool_)
        mask = to_array("reset_mask", masks[0], f"bool [{self.num_envs}]")
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ArgumentError(
                f"reset_mask: expected bool [{self.num_envs}], got {mask.dtype} {list(mask.shape)}"
            )
        if not mask.any():
            raise ArgumentError("reset_mask: expected at least one environment, got none")
        return mask

    def _env_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """Return one seed per environment; None keeps that environment's random stream going."""
        if seed is None:
            return [None] * self.num_envs
        self.task.require("seeds", "reset with a seed")
        if isinstance(seed, (int, np.integer)):
            _check_seed(seed)
            return [derive_env_seed(int(seed), index) for index in range(self.num_envs)]
        shaped = seed.ndim > 0 if isinstance(seed, np.ndarray) else isinstance(seed, Sequence)
        if not shaped or isinstance(seed, (str, bytes)):
            raise ArgumentError(
                f"seed: expected an integer, or one for each of {self.num_envs} environments, "
                f"got {describe(seed)}"
            )
        seeds: list[int | None] = list(seed)
        if len(seeds) != self.num_envs:
            raise ArgumentError(f"seed: expected {self.num_envs} seeds, got {len(seeds)}")
        for value in seeds:
            if value is not None:
                _check_seed(value)
        return [None if value is None else int(value) for value in seeds]


def _check_seed(seed: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ArgumentError(f"seed: expected an integer of at least 0, got {describe(seed)}")
