"""Scripted experts: policies that solve a task from its state, for demonstrations and tests."""

from __future__ import annotations

from ibrl_fast.envs.registry import find_suite, resolve_task
from ibrl_fast.envs.suite import AbilityError, Expert

__all__ = ["Expert", "make_expert"]


def make_expert(task: str, seed: int = 0) -> Expert:
    """Return a scripted expert for one episode: `state` [state_dim] -> action float32 [action_dim].

    It may remember what it saw, so that every episode needs one of its own.

    Args:
        task: name as in `make_pool`.
        seed: of what an expert decides at random, if it does.

    Raises:
        ArgumentError: unknown task.
        AbilityError: the task's suite has no experts.
        MissingPackageError: a package of the suite is not installed.
    """
    info = resolve_task(task)
    suite = find_suite(info.suite)
    if suite.make_expert is None:
        raise AbilityError(f"expert: expected a suite with scripted experts, got {suite.name}")
    suite.check_installed()
    return suite.make_expert(info, seed)
