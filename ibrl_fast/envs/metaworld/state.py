"""The complete state of a published Meta-World environment as named arrays, and back.

One layout for every backend (leading axis N added by the pool):

    physics [P] float64          MuJoCo's mjSTATE_INTEGRATION vector: time, qpos, qvel, act, ctrl, mocap
    body_pos [nbody, 3] float64  what tasks move in the model, metres
    site_pos [nsite, 3] float64
    rng [6] uint64               NumPy PCG64: state high, low, increment high, low, has_uint32, uinteger
    rand_vec [R] float64         the last random vector of a reset
    prev_frame [18] float64      previous frame, part of the next observation
    path_length int64            simulation steps since the reset
    task/NAME float64 [...]      attributes that the task changes (start positions, margins); NaN = None

`MetaworldEnv` adds `observation` float64 [39], the last one given. The pool adds `elapsed_steps` int64 (agent
steps), `episode_return` float64, `needs_reset` bool and, where observations are stacks, their frames:
`frames/KEY` [N, k, ...], newest first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.mujoco_package import mujoco
from ibrl_fast.envs.rng_words import generator_from_words, generator_words
from ibrl_fast.envs.suite import EnvState

TASK_ATTRIBUTES = (
    "_handle_init_pos",
    "_lever_pos_init",
    "_obj_to_target_init",
    "_target_pos",
    "_target_to_obj_init",
    "dial_push_position",
    "hammer_init_pos",
    "heightTarget",
    "init_tcp",
    "liftThresh",
    "maxDist",
    "maxHammerDist",
    "maxPlaceDist",
    "maxPlacingDist",
    "maxPullDist",
    "maxPushDist",
    "maxReachDist",
    "nail_init_pos",
    "objHeight",
    "obj_init_angle",
    "obj_init_pos",
    "obj_init_qpos",
    "peg_head_pos_init",
    "pickCompleted",
    "placeCompleted",
    "prev_obs",
    "reachCompleted",
    "stickHeight",
    "stick_init_pos",
    "target_reward",
    "target_rewards",
    "window_handle_pos_init",
)
"""Attributes of the published tasks that a reset or a step may change."""

_INTEGRATION = int(mujoco.mjtState.mjSTATE_INTEGRATION)


def capture(env: Any) -> EnvState:
    """Return the state of a published environment as new arrays."""
    physics = np.empty(mujoco.mj_stateSize(env.model, _INTEGRATION))
    mujoco.mj_getState(env.model, env.data, physics, _INTEGRATION)
    state: EnvState = {
        "physics": physics,
        "body_pos": env.model.body_pos.copy(),
        "site_pos": env.model.site_pos.copy(),
        "rng": generator_words(env.np_random),
        "rand_vec": np.array(env._last_rand_vec, dtype=np.float64),
        "prev_frame": np.array(env._prev_obs, dtype=np.float64),
        "path_length": np.array(env.curr_path_length, dtype=np.int64),
    }
    for name in TASK_ATTRIBUTES:
        if name in env.__dict__ and not _is_live_view(env.__dict__[name]):
            value = env.__dict__[name]
            state[f"task/{name}"] = np.array(np.nan if value is None else value, dtype=np.float64)
    return state


def restore(env: Any, state: EnvState) -> None:
    """Put a captured state into an environment of the same task that has been reset at least once."""
    env.model.body_pos[:] = state["body_pos"]
    env.model.site_pos[:] = state["site_pos"]

    # derived quantities (positions, contacts, forces) are a function of the state and of its warm start
    physics = np.ascontiguousarray(state["physics"], dtype=np.float64)
    mujoco.mj_resetData(env.model, env.data)
    mujoco.mj_setState(env.model, env.data, physics, _INTEGRATION)
    mujoco.mj_forward(env.model, env.data)
    mujoco.mj_setState(env.model, env.data, physics, _INTEGRATION)

    # the task's Python side
    env.np_random = generator_from_words(state["rng"])
    env._last_rand_vec = state["rand_vec"].copy()
    env._prev_obs = state["prev_frame"].copy()
    env.curr_path_length = int(state["path_length"])
    for name in TASK_ATTRIBUTES:
        if f"task/{name}" in state and not _is_live_view(env.__dict__.get(name)):
            env.__dict__[name] = _like(env.__dict__.get(name), state[f"task/{name}"])


def _like(current: Any, value: npt.NDArray[Any]) -> Any:
    """Return a stored attribute in the type that the environment keeps it in."""
    if value.ndim == 0:
        if np.isnan(value):
            return None
        return bool(value) if isinstance(current, (bool, np.bool_)) else np.float64(value)
    if isinstance(current, list):
        return [np.float64(entry) for entry in value]
    dtype = current.dtype if isinstance(current, np.ndarray) else np.float64
    return value.astype(dtype)


def _is_live_view(value: Any) -> bool:
    """Return whether an attribute is a window on MuJoCo's own memory (some tasks keep one)."""
    base = value
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return isinstance(value, np.ndarray) and not isinstance(base, np.ndarray)
