"""The simulator states of episodes under way, as a file of demonstrations holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.data.expected_demos import OWN_ENTRY
from ibrl_fast.envs.base_pool import BasePool
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.registry import find_suite
from ibrl_fast.envs.state_vectors import state_layout, state_vectors
from ibrl_fast.envs.suite import TaskInfo

GYM_TYPE = 2
"""robomimic's number for environments with Gym's face."""


class StateRecord:
    """States before each step, by episode: as the task's suite records them, or vectors of all that is saved.

    Args:
        task: what the episodes are of.
    """

    def __init__(self, task: TaskInfo) -> None:
        self._task = task
        make_recording = find_suite(task.suite).make_recording
        self._recording = None if make_recording is None else make_recording(task)
        self._states: dict[int, list[npt.NDArray[np.float64]]] = {}
        self._models: dict[int, str] = {}
        self._layout: dict[str, list[int]] = {}

    def note(self, pool: BasePool, running: npt.NDArray[np.int64]) -> None:
        """Take the present states of the pool's environments, whose episodes are `running` [N], -1: none."""
        if not self._task.abilities.saves_state:
            return
        state = pool.get_state()
        if self._recording is None:
            self._layout.update(state_layout(state))
            vectors = state_vectors(state)
        for slot, episode in enumerate(running.tolist()):
            if episode < 0:
                continue
            if self._recording is None:
                row = vectors[slot]
            else:
                own = {key: value[slot] for key, value in state.items()}
                row = self._recording.row(own)
                if episode not in self._models:
                    self._models[episode] = self._recording.model_file(own)
            self._states.setdefault(episode, []).append(row)

    def forget(self, episode: int) -> None:
        """Drop an episode that does not count."""
        self._states.pop(episode, None)
        self._models.pop(episode, None)

    def states(self, episode: int) -> npt.NDArray[np.float64] | None:
        """Return an episode's states `[T, state_size]`; None where environments do not save theirs."""
        return np.stack(self._states[episode]) if episode in self._states else None

    def model_file(self, episode: int) -> str | None:
        """Return the simulator's model of an episode, if the suite records it."""
        return self._models.get(episode)

    def env_args(self, options: PoolOptions, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return a file's `env_args`.

        Args:
            options: of the pool.
            own: what this package records.
        """
        if self._recording is not None:
            return {**self._recording.env_args(options), OWN_ENTRY: dict(own)}
        kwargs = {**own, **({"state_layout": self._layout} if self._layout else {})}
        return {"env_name": self._task.name, "type": GYM_TYPE, "env_kwargs": kwargs}
