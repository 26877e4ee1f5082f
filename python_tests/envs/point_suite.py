"""A suite of one's own: a point in the plane, without any simulator."""

from __future__ import annotations

import numpy as np

from ibrl_fast.envs import Abilities, Outcome, PoolOptions, Suite, TaskInfo


class PointEnv:
    """A point that is moved by at most 0.1 a step and is to reach the origin."""

    def __init__(self, task: TaskInfo, options: PoolOptions) -> None:
        self._random = np.random.default_rng()
        self._position = np.zeros(2)

    @property
    def vectors(self) -> dict[str, np.ndarray]:
        return {"state": np.append(self._position, 0.0), "proprio": self._position}

    def reset(self, seed: int | None) -> None:
        if seed is not None:
            self._random = np.random.default_rng(seed)
        self._position = self._random.uniform(-1, 1, 2)

    def step(self, action: np.ndarray) -> Outcome:
        self._position = self._position + 0.1 * action
        distance = float(np.hypot(*self._position))
        return Outcome(-distance, distance < 0.1)

    def get_state(self) -> dict[str, np.ndarray]:
        return {"position": self._position.copy()}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        self._position = state["position"].copy()


def point_suite(**abilities: bool) -> Suite:
    task = TaskInfo(
        name="point/origin",
        observations={"state": (1.0, 1.0, 0.0), "proprio": (1.0, 1.0)},
        action_dim=2,
        control_period=0.1,
        abilities=Abilities(**abilities),
    )
    return Suite("point", (task,), PointEnv, make_expert=lambda task, seed: lambda state: _towards(state))


def _towards(state: np.ndarray) -> np.ndarray:
    return np.clip(-10.0 * state[:2], -1.0, 1.0).astype(np.float32)
