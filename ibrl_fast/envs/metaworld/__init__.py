"""Meta-World v3: a Sawyer arm and 50 tasks.

The published settings are `reward="dense"`, `terminate_on_success=False`, `action_repeat=1` and
`max_episode_steps=500`.
"""

from __future__ import annotations

from pathlib import Path

from ibrl_fast.envs.metaworld.tasks import TASKS
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.suite import Expert, Suite, SuiteEnv, TaskInfo, find_package

__all__ = ["SUITE"]


def _make_env(task: TaskInfo, options: PoolOptions) -> SuiteEnv:
    from ibrl_fast.envs.metaworld.env import MetaworldEnv

    return MetaworldEnv(task, options)


def _make_expert(task: TaskInfo, seed: int) -> Expert:
    """Return the published script, which decides nothing at random."""
    from ibrl_fast.envs.metaworld.experts import make_expert

    return make_expert(task)


def _find_assets(task: TaskInfo) -> Path:
    """Return the folder of Meta-World's models, without importing the package."""
    folder = find_package("metaworld")
    assert folder is not None, "the suite's packages are checked before"
    return folder / "assets"


SUITE = Suite(
    name="metaworld",
    tasks=TASKS,
    make_env=_make_env,
    make_expert=_make_expert,
    find_assets=_find_assets,
    packages=("metaworld", "mujoco"),
    install="pip install 'ibrl_fast[metaworld]'",
)
