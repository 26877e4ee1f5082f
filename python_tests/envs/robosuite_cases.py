"""States of robosuite's tasks that experts, noise and contact visit, one step from each on both backends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ibrl_fast.envs import make_expert, make_pool

TASKS = ("robosuite/lift", "robosuite/can", "robosuite/square")
ORIGINAL = {
    "num_envs": 1, "action_repeat": 1, "autoreset": "disabled", "terminate_on_success": False,
    "max_episode_steps": 10**6,
}  # fmt: skip
NOISE = 1e-14
"""Relative, on every torque: some units in the last place."""


def make_reference(task: str, **options: Any) -> Any:
    """Return a pool with one published environment."""
    return make_pool(task, backend="reference", **{**ORIGINAL, **options})


def make_native(task: str, **options: Any) -> Any:
    """Return a native pool like it."""
    return make_pool(task, backend="native", num_threads=1, **{**ORIGINAL, **options})


def published_of(pool: Any) -> Any:
    """Return robosuite's own environment inside a reference pool of one."""
    return pool._episodes[0].env.published


def actions(task: str, kind: str, seed: int) -> Iterator[Any]:
    """Yield actions float32 [7], given each `state` by `send`; the first `next` starts it."""
    rng, expert = np.random.default_rng(seed), make_expert(task, seed)
    state = yield np.zeros(7, np.float32)
    step = 0
    while True:
        noise = rng.uniform(-1, 1, 7)
        if kind == "expert":
            action = np.asarray(expert(state)) + 0.05 * noise
        elif kind == "press":  # onto the table, pushing about and grasping
            action = noise * [1, 1, 0.3, 1, 1, 1, 1] + [0, 0, -0.7, 0, 0, 0, np.sign(np.sin(0.2 * step))]
        else:
            action = noise
        step += 1
        state = yield np.clip(action, -1, 1).astype(np.float32)


@dataclass
class StepErrors:
    """What differs after one step from one state."""

    motion: float
    """Largest in qpos and qvel (m, rad, m/s, rad/s)."""
    torque: float
    """Of the arm's largest torque."""
    observation: float
    success: bool
    """Whether both say the same."""
    reward: float
    inherent: float
    """Largest in qpos and qvel of the published environment from itself, its torques moved by NOISE."""


class OneStep:
    """Steps the native pool, and a published environment with noisy torques, from a reference's states."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.reference = make_reference(task, reward="dense")
        self.noisy = make_reference(task, reward="dense")
        self.native = make_native(task, reward="dense")
        self._rng = np.random.default_rng(0)
        for pool in (self.noisy, self.native):
            pool.reset(seed=0)
        model = published_of(self.noisy).sim.model
        self._nq, self._nv = int(model.nq), int(model.nv)

    def episode(self, kind: str, seed: int, steps: int) -> Iterator[StepErrors]:
        """Yield the errors of each step of an episode of the reference."""
        observation, _ = self.reference.reset(seed=seed)
        chosen = actions(self.task, kind, seed)
        next(chosen)
        for _ in range(steps):
            state = self.reference.get_state()
            action = chosen.send(observation["state"][0])[None]
            for pool in (self.native, self.noisy):
                np.testing.assert_array_equal(pool.set_state(state)["state"], observation["state"])
            self._disturb()
            observation, *expected = self.reference.step(action)
            yield self._compare(observation["state"], expected, self.native.step(action), action)

    def _compare(self, observed: Any, expected: Any, got: Any, action: Any) -> StepErrors:
        self.noisy.step(action)
        exact, native, moved = (
            pool.get_state()["physics"][0] for pool in (self.reference, self.native, self.noisy)
        )
        motion = slice(1, 1 + self._nq + self._nv)
        torques = slice(1 + self._nq + 2 * self._nv, 1 + self._nq + 2 * self._nv + 7)
        return StepErrors(
            motion=float(np.abs(native - exact)[motion].max()),
            torque=float(np.abs(native - exact)[torques].max() / np.abs(exact[torques]).max()),
            observation=float(np.abs(got[0]["state"] - observed).max()),
            success=bool(got[4]["success"][0]) == bool(expected[3]["success"][0]),
            reward=float(np.abs(got[1] - expected[0]).max()),
            inherent=float(np.abs(moved - exact)[motion].max()),
        )

    def _disturb(self) -> None:
        """Let the second environment's controller, which every reset makes anew, err in the last places."""
        controller = published_of(self.noisy).robots[0].part_controllers["right"]
        if "run_controller" in vars(controller):
            return
        exact = controller.run_controller
        controller.run_controller = lambda: exact() * (1 + NOISE * self._rng.uniform(-1, 1, 7))
