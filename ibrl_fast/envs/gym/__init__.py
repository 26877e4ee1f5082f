"""Gymnasium environments as tasks: `gym:ID` for every registered id, and `register_env` for any other.

What of an environment becomes what of a task is in `describe.py`, and in docs/extending.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.suite import Suite, SuiteEnv, TaskInfo

if TYPE_CHECKING:
    from ibrl_fast.envs.episodes import EpisodeGroup

__all__ = ["SUITE"]

NAME = "gym"


def _find_task(gym_id: str) -> TaskInfo:
    from ibrl_fast.envs.gym.ids import find_task

    return find_task(gym_id)


def _make_env(task: TaskInfo, options: PoolOptions) -> SuiteEnv:
    from ibrl_fast.envs.gym.env import GymEnv
    from ibrl_fast.envs.gym.ids import source_of

    return GymEnv(task, options, source_of(task.short_name))


def _make_group(task: TaskInfo, options: PoolOptions) -> EpisodeGroup:
    from ibrl_fast.envs.gym.ids import source_of
    from ibrl_fast.envs.gym.processes import make_group

    return make_group(task, options, source_of(task.short_name))


SUITE = Suite(name=NAME, tasks=(), find_task=_find_task, make_env=_make_env, make_group=_make_group)
