"""Environments: `make_pool` and what collects or judges episodes with it."""

from __future__ import annotations

from ibrl_fast.envs.base_pool import BasePool, derive_env_seed
from ibrl_fast.envs.experts import make_expert
from ibrl_fast.envs.factory import make_pool
from ibrl_fast.envs.registry import TaskInfo, TaskNotAvailableError, list_tasks, resolve_task
from ibrl_fast.envs.stacking import ObservationStacker

__all__ = [
    "BasePool",
    "ObservationStacker",
    "TaskInfo",
    "TaskNotAvailableError",
    "derive_env_seed",
    "list_tasks",
    "make_expert",
    "make_pool",
    "resolve_task",
]
