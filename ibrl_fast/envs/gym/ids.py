"""Environments by Gymnasium id: `Env-v0`, `package/Env-v0`, or `module:Env-v0`, whose module registers it."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

from ibrl_fast.envs.gym import NAME
from ibrl_fast.envs.gym.describe import describe_env
from ibrl_fast.envs.gym.source import EnvSource
from ibrl_fast.envs.suite import TaskInfo
from ibrl_fast.errors import ArgumentError, first_line


@functools.cache
def find_task(gym_id: str) -> TaskInfo:
    """Return the task of an id; one environment is made, looked at and closed.

    Raises:
        ArgumentError: Gymnasium does not make it here, or its spaces are not those of a task.
    """
    return describe_env(f"{NAME}:{gym_id}", source_of(gym_id))


def source_of(gym_id: str) -> EnvSource:
    """Return what makes the environments of an id, in any process."""
    module, _, plain_id = gym_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        spec = gymnasium.spec(plain_id)
    except (gymnasium.error.Error, ImportError, ValueError) as error:
        raise ArgumentError(
            f"task: expected {NAME}: and an id that Gymnasium knows (its module before it, as in "
            f"{NAME}:module:Env-v0, where importing that registers it), got {gym_id!r} ({first_line(error)})"
        ) from error
    return EnvSource(functools.partial(_make, spec))


def _make(spec: EnvSpec) -> Any:
    """Make one environment, with pictures for videos where it has them."""
    entry_point = spec.entry_point
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    modes = getattr(creator, "metadata", {}).get("render_modes") or ()
    kwargs = {"render_mode": "rgb_array"} if "rgb_array" in modes else {}
    return gymnasium.make(spec, disable_env_checker=True, **{**kwargs, **spec.kwargs})
