"""One published robosuite environment with the settings of this package."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.divergence import has_diverged
from ibrl_fast.envs.mujoco_package import mujoco
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.robosuite import state as state_layout
from ibrl_fast.envs.robosuite.cube import resize_cube
from ibrl_fast.envs.robosuite.facts import describe
from ibrl_fast.envs.robosuite.package import hide_collision_geoms, make_published, quiet
from ibrl_fast.envs.robosuite.tasks import PROPRIO_DIM, published_of
from ibrl_fast.envs.suite import EnvState, Outcome, TaskInfo

Vector = npt.NDArray[np.float64]

_PROPRIO = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
_OBJECT = "object-state"


class RobosuiteEnv:
    """A published robosuite environment as robomimic makes it, an episode being a function of its seed.

    Resets keep the compiled model: robosuite's own "hard" resets compile an equal one, but for the size of
    Lift's cube, which is drawn here as there, first of all (`resize_cube`).

    Args:
        task: one of the suite's.
        options: `reward` is read.
    """

    def __init__(self, task: TaskInfo, options: PoolOptions) -> None:
        published = published_of(task)
        self.published: Any = make_published(
            published.env_name, seed=0, reward_shaping=options.reward == "dense", hard_reset=False
        )
        hide_collision_geoms(self.model)
        self._facts = describe(self.published, published)
        self._kinematics_qpos = self.data.qpos.copy()
        self._state = np.zeros(len(task.observations["state"]))

    @property
    def vectors(self) -> dict[str, Vector]:
        """The current observation: `state` and its first part, `proprio`, float64."""
        return {"state": self._state, "proprio": self._state[:PROPRIO_DIM]}

    @property
    def model(self) -> mujoco.MjModel:
        """The `mujoco.MjModel`."""
        return self.published.sim.model._model

    @property
    def data(self) -> mujoco.MjData:
        """The `mujoco.MjData`, its poses one physics step behind its positions, as robosuite draws them."""
        return self.published.sim.data._data

    def reset(self, seed: int | None) -> None:
        """Start an episode that depends on the seed alone; without one the random stream goes on."""
        published = self.published
        if seed is not None:
            published.rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
        if "cube" in self._facts:
            low, high = self._facts["cube"]["size_low"], self._facts["cube"]["size_high"]
            size = [published.rng.uniform(*bounds) for bounds in zip(low, high)]
            self._resize_cube(np.array(size))
        with quiet():
            observations = published.reset()
        self._kinematics_qpos = self.data.qpos.copy()
        self._observe(observations)

    def step(self, action: npt.NDArray[np.float32]) -> Outcome:
        """Take one control step; the state stays the last good one if the physics diverges."""
        step2, qpos = self.published.sim.step2, self.data.qpos

        def step2_noting_positions() -> None:
            self._kinematics_qpos[:] = qpos
            step2()

        self.published.sim.step2 = step2_noting_positions
        try:
            observations, reward, _, _ = self.published.step(action.astype(np.float64))
        finally:
            del self.published.sim.step2
        if has_diverged(self.data, self.data.qpos):
            return Outcome(0.0, success=False, diverged=True)
        self._observe(observations)
        return Outcome(float(reward), bool(self.published._check_success()))

    def get_state(self) -> EnvState:
        """Return named arrays that hold everything that decides the future (the layout is in `state.py`)."""
        state = state_layout.capture(self.published)
        state["kinematics_qpos"] = self._kinematics_qpos.copy()
        state["observation"] = self._state.copy()
        if "cube" in self._facts:
            state["cube_size"] = np.array(self.published.cube.size, dtype=np.float64)
        return state

    def set_state(self, state: EnvState) -> None:
        """Restore what `get_state` returned."""
        if "cube" in self._facts:
            self._resize_cube(state["cube_size"])
        state_layout.restore(self.published, state)
        self._kinematics_qpos = state["kinematics_qpos"].copy()
        self._state = state["observation"].copy()

        # the pose of the object relative to the hand is of the object as it was observed last
        names = self._facts["observation"]["object_names"]
        start = PROPRIO_DIM
        for name in names:
            size = np.shape(self.published._observables[name].obs)[0]
            self.published._obs_cache[name] = self._state[start : start + size].copy()
            start += size

    def _observe(self, observations: dict[str, Any]) -> None:
        """Join what robosuite observes to `state`."""
        self._state = np.concatenate([observations[key] for key in (*_PROPRIO, _OBJECT)], dtype=np.float64)

    def _resize_cube(self, half_size: Vector) -> None:
        resize_cube(self.model, self._facts["cube"], half_size)
        # the placement asks the cube itself how high it stands
        self.published.cube.size = half_size.copy()
