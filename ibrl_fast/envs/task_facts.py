"""The facts of every task in one list, without building an environment or importing a simulator."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from ibrl_fast import _core
from ibrl_fast.envs.registry import find_suite, suite_names
from ibrl_fast.envs.suite import find_package
from ibrl_fast.errors import ArgumentError

ANY_GYMNASIUM = "gym:ID, such as gym:Pendulum-v1"
"""How a Gymnasium environment is named as a task."""


@dataclass(frozen=True)
class TaskFacts:
    """What a task is and what its environments can do here.

    Attributes:
        name: full name, `suite/task`.
        suite: its first part.
        observations: numbers in each vector that can be observed (`state`, `proprio`).
        action_dim: numbers in an action.
        control_period: of one control step, s; None where it is not known.
        cameras: those that are observed where none is named.
        expert: there is a scripted expert for demonstrations.
        saves_state: runs continue in the middle of an episode; demonstrations can be drawn again.
        seeds: an episode is a function of its seed.
        parallel: several environments may be there at a time.
        fixes_goals: an environment can repeat one start and goal.
        native: this installation's C++ pool has the task.
        missing: packages that its environments need and that are not installed.
        install: what to install where some are missing.
    """

    name: str
    suite: str
    observations: dict[str, int]
    action_dim: int
    control_period: float | None
    cameras: tuple[str, ...]
    expert: bool
    saves_state: bool
    seeds: bool
    parallel: bool
    fixes_goals: bool
    native: bool
    missing: tuple[str, ...]
    install: str


def task_facts(suite: str | None = None) -> list[TaskFacts]:
    """Return the facts of all tasks, suite by suite.

    Args:
        suite: only this suite's; None: all.

    Raises:
        ArgumentError: no suite of that name; lists those that there are.
    """
    suites = {name: find_suite(name) for name in suite_names()}
    if suite is not None and suite not in suites:
        close = difflib.get_close_matches(suite, suites, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ArgumentError(f"suite: expected one of {', '.join(suites)}, got {suite}{hint}")
    missing = {
        name: tuple(package for package in entry.packages if find_package(package) is None)
        for name, entry in suites.items()
    }
    native = set(_core.list_native_tasks()) if _core.with_mujoco else set()
    return [
        TaskFacts(
            name=info.name,
            suite=info.suite,
            observations={key: len(units) for key, units in info.observations.items()},
            action_dim=info.action_dim,
            control_period=info.control_period,
            cameras=info.cameras,
            expert=entry.make_expert is not None,
            saves_state=info.abilities.saves_state,
            seeds=info.abilities.seeds,
            parallel=info.abilities.parallel,
            fixes_goals=info.abilities.fixes_goals,
            native=entry.find_assets is not None and info.name in native,
            missing=missing[info.suite],
            install=entry.install,
        )
        for name, entry in suites.items()
        if suite in (None, name)
        for info in entry.tasks
    ]
