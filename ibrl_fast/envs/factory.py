"""`make_pool`: the one door to environments; everything above it sees the same face whatever steps below."""

from __future__ import annotations

from functools import partial
from typing import Any

from ibrl_fast.envs.base_pool import BasePool
from ibrl_fast.envs.episodes import LocalEpisodes
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.reference_pool import ReferencePool
from ibrl_fast.envs.registry import find_suite, resolve_task
from ibrl_fast.envs.suite import Suite, TaskInfo
from ibrl_fast.errors import ArgumentError


def make_pool(task: str, options: PoolOptions | None = None, **changes: Any) -> BasePool:
    """Make a Gymnasium `VectorEnv` over environments of one task (`BasePool` describes what it returns).

    The native backend returns views of its own buffers, valid during the next call: copy what must live
    longer.

    Args:
        task: name such as `suite/task` or `task`, which `list_tasks()` gives, or `suite:NAME` for suites that
            find their tasks by name.
        options: of the pool; `PoolOptions` describes each. None: the defaults.
        changes: options by name that replace those, such as `num_envs=4`.

    Raises:
        ArgumentError: unknown task (lists the valid ones), camera or option; options that do not fit together
            or that the task cannot do; native backend not in this build.
        MissingPackageError: a package that the task's suite needs is not installed; says what to install.
        RenderingUnavailableError: pictures are asked for and no OpenGL works; names the packages to install.
    """
    asked = (PoolOptions() if options is None else options).changed(changes)
    info = resolve_task(task).observed_by(asked)
    suite, resolved = find_suite(info.suite), info.resolve(asked)
    suite.check_installed()
    local = partial(LocalEpisodes, make_env=suite.make_env)
    if resolved.backend == "reference":
        return ReferencePool(info, resolved, local)
    if resolved.backend == "auto" and not _has_native(suite, info):
        together = suite.make_group if resolved.num_envs > 1 and not info.abilities.saves_state else None
        return ReferencePool(info, resolved, together or local)
    if suite.find_assets is None:
        raise ArgumentError(f"backend: expected 'reference' for the tasks of {suite.name}, got 'native'")
    try:
        from ibrl_fast.envs.env_pool import NativePool
    except ImportError as error:
        raise ArgumentError(
            f"backend: expected 'reference', got 'native', which is not installed ({error})"
        ) from error
    return NativePool(info, resolved, suite.find_assets(info))


def _has_native(suite: Suite, task: TaskInfo) -> bool:
    """Return whether this installation has the native backend, and that backend the task."""
    if suite.find_assets is None:
        return False
    try:
        from ibrl_fast.envs.env_pool import list_native_tasks
    except ImportError:
        return False
    return task.name in list_native_tasks()
