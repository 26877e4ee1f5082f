"""Stacks of the latest observations, one per environment, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.errors import ArgumentError

Arrays = dict[str, npt.NDArray[Any]]

FRAMES = "frames/"
"""Prefix under which a pool's state holds the frames behind stacked observations, [N, k, ...] by key."""


class ObservationStacker:
    """The last k observations of every environment.

    `state` [N, S] becomes [N, k*S] and an image [N, C, H, W] becomes [N, k*C, H, W], the newest first; an
    episode's first observation is repeated.

    Args:
        num_envs: N.
        stacks: k by observation key; keys that are not named pass through unstacked.
    """

    def __init__(self, num_envs: int, stacks: Mapping[str, int]) -> None:
        if num_envs < 1:
            raise ArgumentError(f"num_envs: expected at least 1, got {num_envs}")
        for key, stack in stacks.items():
            if isinstance(stack, bool) or not isinstance(stack, (int, np.integer)) or stack < 1:
                raise ArgumentError(f"stacks[{key!r}]: expected an integer of at least 1, got {stack!r}")
        self._num_envs = num_envs
        self._stacks = dict(stacks)
        self._buffers: Arrays = {}

    def reset(
        self,
        observations: Mapping[str, npt.NDArray[Any]],
        env_ids: Sequence[int] | npt.NDArray[np.intp] | None = None,
    ) -> Arrays:
        """Start the stacks of some environments (all by default) with their row of `observations` [N, ...].

        Return the stacked observations of all environments as new arrays.
        """
        rows = np.arange(self._num_envs) if env_ids is None else np.asarray(env_ids, dtype=np.intp)
        for _, value, buffer in self._each(observations):
            buffer[rows] = value[rows, None]
        return self.stacked()

    def push(self, observations: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Add the next observation [N, ...] of every environment; return new stacked arrays.

        Raises:
            ArgumentError: other keys or shapes than before.
            RuntimeError: before the first `reset`.
        """
        self._advance(observations)
        return self.stacked()

    def push_and_reset(
        self, observations: Mapping[str, npt.NDArray[Any]], ended: npt.NDArray[np.bool_]
    ) -> Arrays:
        """Add one step of a pool with autoreset: rows where `ended` [N] start anew, the others go on."""
        self._advance(observations)
        return self.reset(observations, np.flatnonzero(ended)) if ended.any() else self.stacked()

    def state_dict(self) -> Arrays:
        """Return copies of the stacks, [N, k, ...] by key."""
        return {key: buffer.copy() for key, buffer in self._buffers.items()}

    def load_state_dict(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ArgumentError: stacks of another number of environments or frames.
        """
        for key, value in state.items():
            if value.shape[:2] != (self._num_envs, self._stacks.get(key, 1)):
                expected = [self._num_envs, self._stacks.get(key, 1)]
                raise ArgumentError(
                    f"state[{key!r}]: expected {expected} as first axes, got {list(value.shape[:2])}"
                )
        self._buffers = {key: np.array(value) for key, value in state.items()}

    def _advance(self, observations: Mapping[str, npt.NDArray[Any]]) -> None:
        if not self._buffers:
            raise RuntimeError("stacker: expected reset() before the first step")
        for _, value, buffer in self._each(observations):
            if buffer.shape[1] > 1:
                buffer[:, 1:] = buffer[:, :-1].copy()
            buffer[:, 0] = value

    def _each(
        self, observations: Mapping[str, npt.NDArray[Any]]
    ) -> list[tuple[str, npt.NDArray[Any], npt.NDArray[Any]]]:
        """Return (key, observation, buffer) of every key; buffers are made when a key is first seen."""
        unknown = set(self._stacks) - set(observations)
        if unknown:
            raise ArgumentError(
                f"observations: expected the keys {sorted(self._stacks)}, missing {sorted(unknown)}"
            )
        entries = []
        for key, value in observations.items():
            if value.ndim < 2 or value.shape[0] != self._num_envs:
                raise ArgumentError(f"{key}: expected [{self._num_envs}, ...], got {list(value.shape)}")
            if key not in self._buffers:
                shape = (self._num_envs, self._stacks.get(key, 1), *value.shape[1:])
                self._buffers[key] = np.zeros(shape, value.dtype)
            buffer = self._buffers[key]
            if value.shape[1:] != buffer.shape[2:]:
                expected = [self._num_envs, *buffer.shape[2:]]
                raise ArgumentError(f"{key}: expected {expected}, got {list(value.shape)}")
            entries.append((key, value, buffer))
        return entries

    def stacked(self) -> Arrays:
        """Return the current stacks of all environments, [N, k*F, ...] by key, as new arrays."""
        return {
            key: buffer.reshape(buffer.shape[0], -1, *buffer.shape[3:]).copy()
            for key, buffer in self._buffers.items()
        }
