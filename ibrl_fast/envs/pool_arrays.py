"""Memory that the native pool writes its results into, made once: a step allocates no observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ibrl_fast import _core
from ibrl_fast.envs.base_pool import Observations
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.stacking import FRAMES

StepTuple = tuple[
    Observations, npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]
]


class PoolArrays:
    """One set of arrays that the C++ pool writes results into, and the views that a step hands out."""

    def __init__(
        self, entries: Mapping[str, spaces.Box], options: PoolOptions, rows: int, *, pin_memory: bool
    ) -> None:
        def make(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
            return _allocate((rows, *shape), dtype, pin_memory=pin_memory)

        self.obs = {key: make(space.shape, space.dtype) for key, space in entries.items()}
        self.final_obs: Observations = {}
        if options.autoreset == "same_step":
            self.final_obs = {key: make(space.shape, space.dtype) for key, space in entries.items()}
        self.reward = make((), np.float32)
        self.flags = {name: make((), np.uint8) for name in ("terminated", "truncated", "success", "diverged")}
        self.elapsed_steps = make((), np.int64)
        self.episode_return = make((), np.float64)

        # what C++ writes; booleans are views of its bytes
        arrays = {"reward": self.reward, **self.flags}
        arrays |= {"elapsed_steps": self.elapsed_steps, "episode_return": self.episode_return}
        self.batch = _core.EnvBatch(arrays, list(self.obs.values()), list(self.final_obs.values()))
        self.terminated, self.truncated, self.success, self.diverged = (
            flag.view(np.bool_) for flag in self.flags.values()
        )

    def result(self, any_ended: bool | None) -> StepTuple:
        """Return what `step` returns for these arrays; any_ended None: find out whether an episode ended."""
        info: dict[str, Any] = {"success": self.success, "diverged": self.diverged}
        if self.final_obs and any_ended is not False and (ended := self.terminated | self.truncated).any():
            # rows that go on have their ordinary successor there too
            goes_on = ~ended
            for key, value in self.final_obs.items():
                value[goes_on] = self.obs[key][goes_on]
            info["final_obs"], info["_final_obs"] = self.final_obs, ended
            info["final_info"] = {
                "success": self.success & ended,
                "diverged": self.diverged & ended,
                "elapsed_steps": self.elapsed_steps,
                "episode_return": self.episode_return,
            }
            info["_final_info"] = ended
        return self.obs, self.reward, self.terminated, self.truncated, info


def _allocate(shape: tuple[int, ...], dtype: Any, *, pin_memory: bool) -> npt.NDArray[Any]:
    """Return zeros, in page-locked memory on request."""
    if not pin_memory:
        return np.zeros(shape, dtype).view()  # of a base that callers cannot resize
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("pin_memory: expected a CUDA device, found none")
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    array: npt.NDArray[Any] = torch.zeros(size, dtype=torch.uint8, pin_memory=True).numpy().view(dtype)
    return array.reshape(shape)


class NativeStacks:
    """The frames behind a native pool's stacked observations, in and out as named arrays [N, k, ...]."""

    def __init__(
        self, pool: _core.EnvPool, entries: Mapping[str, spaces.Box], options: PoolOptions, num_envs: int
    ) -> None:
        self._pool = pool
        self._numbers = {key: index for index, key in enumerate(entries)}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for key, space in entries.items():
            stack, frame = options.stack_of(key), list(space.shape)
            frame[-1 if options.channels_last else 0] //= stack
            self._shapes[key] = (num_envs, stack, *frame)
        self._entries = entries

    def get(self) -> Observations:
        """Return the frames of every key that is stacked, under `frames/KEY`."""
        frames = {}
        for key, shape in self._shapes.items():
            if shape[1] > 1:
                flat = self._pool.get_stack(self._numbers[key])
                frames[FRAMES + key] = flat.view(self._entries[key].dtype).reshape(shape)
        return frames

    def prepare(self, state: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[np.uint8] | None]:
        """Return what the pool's `observe` takes: frames of each key as bytes, None to begin a stack anew."""
        prepared: list[npt.NDArray[np.uint8] | None] = [None] * len(self._numbers)
        for key, space in self._entries.items():
            if FRAMES + key in state:
                frames = np.ascontiguousarray(state[FRAMES + key], dtype=space.dtype)
                prepared[self._numbers[key]] = frames.reshape(-1).view(np.uint8)
        return prepared
