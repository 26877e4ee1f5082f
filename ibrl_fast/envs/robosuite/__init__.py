"""robosuite 1.5.2: a Panda arm and the tasks Lift, Can and Square of robomimic's benchmark.

As robomimic has them: the arm's default operational space controller (pose deltas in the base's frame, 20
Hz), sparse success, object placement and initial noise of robosuite.
"""

from __future__ import annotations

from pathlib import Path

from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.robosuite.tasks import TASKS
from ibrl_fast.envs.suite import Suite, SuiteEnv, TaskInfo

__all__ = ["SUITE"]


def _make_env(task: TaskInfo, options: PoolOptions) -> SuiteEnv:
    from ibrl_fast.envs.robosuite.env import RobosuiteEnv

    return RobosuiteEnv(task, options)


def _find_assets(task: TaskInfo) -> Path:
    """Return the file of the task's compiled model, made where it is missing."""
    from ibrl_fast.envs.robosuite.model_store import find_model

    return find_model(task).path


SUITE = Suite(
    name="robosuite",
    tasks=TASKS,
    make_env=_make_env,
    find_assets=_find_assets,
    packages=("mujoco",),
    install="pip install 'ibrl_fast[robosuite]'",
)
