"""Environments: `make_pool`, what runs episodes on it, `register_env` and `register_suite` for one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibrl_fast.lazy import lazy_names

if TYPE_CHECKING:
    from ibrl_fast.envs.base_pool import BasePool
    from ibrl_fast.envs.experts import make_expert
    from ibrl_fast.envs.factory import make_pool
    from ibrl_fast.envs.gym.register import register_env
    from ibrl_fast.envs.options import PoolOptions
    from ibrl_fast.envs.registry import TaskNotAvailableError, list_tasks, register_suite, resolve_task
    from ibrl_fast.envs.rollout import EvaluationRollout, evaluate_policy, wilson_interval
    from ibrl_fast.envs.stacking import ObservationStacker
    from ibrl_fast.envs.suite import Abilities, AbilityError, Outcome, Suite, TaskInfo
    from ibrl_fast.seeding import derive_env_seed, episode_seeds

__all__ = [
    "Abilities",
    "AbilityError",
    "BasePool",
    "EvaluationRollout",
    "ObservationStacker",
    "Outcome",
    "PoolOptions",
    "Suite",
    "TaskInfo",
    "TaskNotAvailableError",
    "derive_env_seed",
    "episode_seeds",
    "evaluate_policy",
    "list_tasks",
    "make_expert",
    "make_pool",
    "register_env",
    "register_suite",
    "resolve_task",
    "wilson_interval",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ibrl_fast.envs.base_pool": ("BasePool",),
        "ibrl_fast.envs.experts": ("make_expert",),
        "ibrl_fast.envs.factory": ("make_pool",),
        "ibrl_fast.envs.gym.register": ("register_env",),
        "ibrl_fast.envs.options": ("PoolOptions",),
        "ibrl_fast.envs.registry": ("TaskNotAvailableError", "list_tasks", "register_suite", "resolve_task"),
        "ibrl_fast.envs.rollout": ("EvaluationRollout", "evaluate_policy", "wilson_interval"),
        "ibrl_fast.envs.stacking": ("ObservationStacker",),
        "ibrl_fast.envs.suite": ("Abilities", "AbilityError", "Outcome", "Suite", "TaskInfo"),
        "ibrl_fast.seeding": ("derive_env_seed", "episode_seeds"),
    },
)
