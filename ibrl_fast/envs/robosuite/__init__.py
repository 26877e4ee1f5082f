"""robosuite 1.5.2: a Panda arm and the tasks Lift, Can and Square of robomimic's benchmark.

As robomimic has them: the arm's default operational space controller (pose deltas in the base's frame, 20
Hz), sparse success, object placement and initial noise of robosuite.
"""

from __future__ import annotations

from pathlib import Path

from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.robosuite.tasks import TASKS
from ibrl_fast.envs.suite import Expert, PublishedFile, Recording, Suite, SuiteEnv, TaskInfo

__all__ = ["SUITE"]


def _make_env(task: TaskInfo, options: PoolOptions) -> SuiteEnv:
    from ibrl_fast.envs.robosuite.env import RobosuiteEnv

    return RobosuiteEnv(task, options)


def _make_expert(task: TaskInfo, seed: int) -> Expert:
    from ibrl_fast.envs.robosuite.experts import make_expert

    return make_expert(task, seed)


def _make_recording(task: TaskInfo) -> Recording:
    from ibrl_fast.envs.robosuite.recording import RobosuiteRecording

    return RobosuiteRecording(task)


def _find_assets(task: TaskInfo) -> Path:
    """Return the file of the task's compiled model, made where it is missing."""
    from ibrl_fast.envs.robosuite.model_store import find_model

    return find_model(task).path


# proficient humans: 200 demonstrations by one person; multi-human: 300 by six of different skill
_DATASETS = {
    f"{task.short_name}-{people}": PublishedFile(
        task=task.name,
        repository="robomimic/robomimic_datasets",
        path=f"v1.5/{task.short_name}/{people}/low_dim_v15.hdf5",
        episodes=episodes,
    )
    for task in TASKS
    for people, episodes in (("ph", 200), ("mh", 300))
}

SUITE = Suite(
    name="robosuite",
    tasks=TASKS,
    make_env=_make_env,
    make_expert=_make_expert,
    find_assets=_find_assets,
    make_recording=_make_recording,
    datasets=_DATASETS,
    packages=("mujoco",),
    install="pip install 'ibrl_fast[robosuite]'",
)
