"""The complete state of a robosuite environment as named arrays, and back.

One layout for every backend (leading axis N added by the pool):

    physics [P] float64             MuJoCo's mjSTATE_INTEGRATION vector: time, qpos, qvel, warm start, ...
    kinematics_qpos [nq] float64    positions for which poses were computed last; robosuite observes, judges
                                    and draws these poses, which are one physics step behind `physics`
    gripper_action [2] float64      commands of the two fingers in [-1, 1], which actions move by 0.2
    initial_joint [7] float64       arm positions (rad) after the reset: what the null space holds
    control_steps int64             since the reset; 0: the arm's controller has not read the state since then
    cube_size [3] float64           Lift: half sizes of the cube (m)
    rng [6] uint64                  NumPy PCG64 (`rng_words`)
    observation [state_dim] float64 the last `state`; its object pose is part of the next relative pose

The pool adds `elapsed_steps` int64 (agent steps), `episode_return` float64, `needs_reset` bool and, where
observations are stacks, their frames: `frames/KEY` [N, k, ...], newest first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.mujoco_package import mujoco
from ibrl_fast.envs.rng_words import generator_from_words, generator_words
from ibrl_fast.envs.suite import EnvState

_INTEGRATION = int(mujoco.mjtState.mjSTATE_INTEGRATION)


def read_physics(model: mujoco.MjModel, data: mujoco.MjData) -> npt.NDArray[np.float64]:
    """Return MuJoCo's integration state, float64 [P]."""
    physics = np.empty(mujoco.mj_stateSize(model, _INTEGRATION))
    mujoco.mj_getState(model, data, physics, _INTEGRATION)
    return physics


def capture(published: Any) -> EnvState:
    """Return what robosuite's environment knows of its future as new arrays."""
    model, data, robot = published.sim.model._model, published.sim.data._data, published.robots[0]
    return {
        "physics": read_physics(model, data),
        "gripper_action": np.zeros(2) + robot.gripper["right"].current_action,
        "initial_joint": np.array(robot.part_controllers["right"].initial_joint, dtype=np.float64),
        "control_steps": np.array(published.timestep, dtype=np.int64),
        "rng": generator_words(published.rng),
    }


def restore(published: Any, state: EnvState) -> None:
    """Put a captured state into an environment of the same task that has been reset at least once."""
    model, data, robot = published.sim.model._model, published.sim.data._data, published.robots[0]
    published.rng.bit_generator.state = generator_from_words(state["rng"]).bit_generator.state
    published.timestep = int(state["control_steps"])
    robot.gripper["right"].current_action = state["gripper_action"].copy()

    # what the arm's controller knows: of the last step nothing, of a reset what it read in there
    physics = np.ascontiguousarray(state["physics"], dtype=np.float64)
    mujoco.mj_resetData(model, data)
    if published.timestep == 0:
        data.qpos[robot._ref_arm_joint_pos_indexes] = state["initial_joint"]
        robot.part_controllers["right"].update(force=True)
    for controller in robot.part_controllers.values():
        controller.new_update = published.timestep > 0
    robot.part_controllers["right"].initial_joint = state["initial_joint"].copy()

    # poses are those of earlier positions, and the solver's warm start is part of the state
    mujoco.mj_resetData(model, data)
    mujoco.mj_setState(model, data, physics, _INTEGRATION)
    data.qpos[:] = state["kinematics_qpos"]
    mujoco.mj_forward(model, data)
    mujoco.mj_setState(model, data, physics, _INTEGRATION)
