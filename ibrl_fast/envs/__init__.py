"""Environments: `make_pool` and what runs episodes on it; demonstrations are in `collect_demos`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibrl_fast.lazy import lazy_names

if TYPE_CHECKING:
    from ibrl_fast.envs.base_pool import BasePool, derive_env_seed
    from ibrl_fast.envs.experts import make_expert
    from ibrl_fast.envs.factory import make_pool
    from ibrl_fast.envs.registry import TaskInfo, TaskNotAvailableError, list_tasks, resolve_task
    from ibrl_fast.envs.rollout import EvaluationRollout, episode_seeds, evaluate_policy, wilson_interval
    from ibrl_fast.envs.stacking import ObservationStacker

__all__ = [
    "BasePool",
    "EvaluationRollout",
    "ObservationStacker",
    "TaskInfo",
    "TaskNotAvailableError",
    "derive_env_seed",
    "episode_seeds",
    "evaluate_policy",
    "list_tasks",
    "make_expert",
    "make_pool",
    "resolve_task",
    "wilson_interval",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ibrl_fast.envs.base_pool": ("BasePool", "derive_env_seed"),
        "ibrl_fast.envs.experts": ("make_expert",),
        "ibrl_fast.envs.factory": ("make_pool",),
        "ibrl_fast.envs.registry": ("TaskInfo", "TaskNotAvailableError", "list_tasks", "resolve_task"),
        "ibrl_fast.envs.rollout": (
            "EvaluationRollout",
            "episode_seeds",
            "evaluate_policy",
            "wilson_interval",
        ),
        "ibrl_fast.envs.stacking": ("ObservationStacker",),
    },
)
