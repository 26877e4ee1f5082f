"""Tasks by name: the suites of this package and those that users register."""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable
from importlib.metadata import entry_points

from ibrl_fast.envs.suite import Suite, TaskInfo
from ibrl_fast.envs.suites import HOMES, PLANNED, PLANNED_CLASSES, PLANNED_TASKS
from ibrl_fast.errors import ArgumentError

ENTRY_POINTS = "ibrl_fast.suites"
"""Group of the entry points by which an installed package brings a `Suite`, in every process."""

_REGISTERED: dict[str, Suite] = {}


class TaskNotAvailableError(ArgumentError):
    """A task that is planned but has no environment yet."""


def register_suite(suite: Suite) -> None:
    """Add a suite, so that `make_pool` and all above it know its tasks in this process.

    Other processes do not see it: a run evaluates in this one. A package that has an entry point in the group
    `ibrl_fast.suites` instead brings its suite to all.

    Args:
        suite: of a name that is not taken; every task's name begins with it.

    Raises:
        ArgumentError: the name is taken, or a task is of another suite.
    """
    names = suite_names()
    if suite.name in names:
        raise ArgumentError(f"suite: expected a name other than {', '.join(names)}, got {suite.name}")
    for task in suite.tasks:
        if task.name.count("/") != 1 or task.suite != suite.name:
            raise ArgumentError(f"tasks: expected names {suite.name}/TASK, got {task.name}")
    put_suite(suite)


def put_suite(suite: Suite) -> None:
    """Add a suite, or put it in the place of one that was registered in this process under its name."""
    _REGISTERED[suite.name] = suite


def suite_names() -> tuple[str, ...]:
    """Return the names of all suites: of this package, of installed ones, registered."""
    return tuple(dict.fromkeys((*HOMES, *_installed(), *_REGISTERED)))


@functools.cache
def _installed() -> dict[str, Callable[[], Suite]]:
    """Suites that other packages bring, by name; loaded when one of their tasks is asked for."""
    return {point.name: point.load for point in entry_points(group=ENTRY_POINTS)}


def find_suite(name: str) -> Suite:
    """Return the suite of that name: of this package, of an installed one, or registered."""
    if name not in _REGISTERED:
        load = _installed().get(name)
        _REGISTERED[name] = importlib.import_module(HOMES[name]).SUITE if load is None else load()
    return _REGISTERED[name]


def is_known_everywhere(task: TaskInfo) -> bool:
    """Return whether every process of this installation knows a task, or this one alone."""
    return task.suite in HOMES or task.suite in _installed()


def list_tasks() -> tuple[str, ...]:
    """Return the full names of all tasks that `make_pool` accepts, suite by suite."""
    return tuple(_tasks())


def _tasks() -> dict[str, TaskInfo]:
    return {task.name: task for name in suite_names() for task in find_suite(name).tasks}


def full_name(task: str) -> str:
    """Return `suite/task` for a task's name or alias, with or without its suite; unknown names stay."""
    suite, slash, short = task.rpartition("/")
    candidates = [info for info in _tasks().values() if not slash or info.suite == suite]
    own = [info.name for info in candidates if info.short_name == short]
    others = [info.name for info in candidates if short in info.aliases]
    return next(iter(own + others), task)


def resolve_task(task: str) -> TaskInfo:
    """Return the task of that name; its suite may be left out.

    Raises:
        TaskNotAvailableError: a task of a suite that is planned.
        ArgumentError: an unknown name; lists the valid ones.
        TypeError: no text.
    """
    if not isinstance(task, str):
        raise TypeError(f"task: expected str, got {type(task).__name__}")
    tasks, name = _tasks(), full_name(task)
    if name in tasks:
        return tasks[name]
    suite, separator, rest = name.partition(":")
    if separator and suite in suite_names() and (find_task := find_suite(suite).find_task) is not None:
        return find_task(rest)

    # planned suites get their own words, so that nobody searches for a typing error
    if name.split("/", 1)[0] in PLANNED or task in PLANNED_TASKS + PLANNED_CLASSES:
        raise TaskNotAvailableError(
            f"task: {task!r} is not available yet; the real robot and further tasks are planned. "
            f"Available: {', '.join(tasks)}"
        )
    close = difflib.get_close_matches(name, tasks, n=1) or [
        full for full in tasks if difflib.get_close_matches(name, [full.split("/", 1)[1]], n=1)
    ]
    hint = f"did you mean {close[0]!r}? " if close else ""
    if "/" in name and name.split("/", 1)[0] not in suite_names():
        hint = "a task of register_env is known once this process has registered it; "
    raise ArgumentError(f"task: unknown name {task!r}; {hint}expected one of {', '.join(tasks)}")
