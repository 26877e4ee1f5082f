"""`register_env`: environments that a user's function makes, as tasks of this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ibrl_fast.envs.episodes import EpisodeGroup
from ibrl_fast.envs.experts import Expert
from ibrl_fast.envs.gym.describe import describe_env
from ibrl_fast.envs.gym.env import GymEnv
from ibrl_fast.envs.gym.processes import make_group
from ibrl_fast.envs.gym.source import EnvSource, SuccessRule
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.registry import put_suite, suite_names
from ibrl_fast.envs.suite import AbilityError, Suite, SuiteEnv, TaskInfo
from ibrl_fast.errors import expect

_OWN: dict[str, tuple[TaskInfo, EnvSource]] = {}


def register_env(
    name: str,
    make: Callable[[], Any],
    *,
    success: SuccessRule | None = None,
    expert: Expert | None = None,
    state_keys: tuple[str, ...] = (),
    proprio_keys: tuple[str, ...] = (),
) -> TaskInfo:
    """Make a Gymnasium environment a task of this process, as `make_pool` and all above it take tasks.

    One environment is made, looked at and closed. A name that was registered so before is replaced. Other
    processes do not know the task: a run evaluates in this one, and whoever resumes it registers it again.

    Args:
        name: `SUITE/TASK`, of a suite of one's own.
        make: makes one `gymnasium.Env`: a Box or Dict observation of 1-D boxes and uint8 images [H, W, 3] or
            [3, H, W], a Box action of finite bounds; with `render_mode="rgb_array"` where videos are wanted.
        success: (reward, terminated, truncated, info) of a control step, as the environment gave them, to a
            bool; None: `info["success"]`, else `info["is_success"]`, else no step is a success.
        expert: `state` float [state_dim] -> action float32 [action_dim] in [-1, 1], for demonstrations.
        state_keys: entries of the observation that `state` joins, in this order; none: all 1-D boxes, in the
            space's order. The option of that name chooses others.
        proprio_keys: the same for `proprio`; none: there is no `proprio`.

    Returns:
        What is known about the task.

    Raises:
        ArgumentError: a name that cannot be used, or an environment that is no task; says why.
    """
    expect(isinstance(name, str), "name", "text", name)
    suite, slash, short = name.partition("/")
    fits = bool(suite and slash and short) and not set(short) & set("/:") and ":" not in suite
    expect(fits, "name", "SUITE/TASK", name)
    is_own = any(task.suite == suite for task, _ in _OWN.values())
    taken = "a suite of one's own, other than " + ", ".join(suite_names())
    expect(is_own or suite not in suite_names(), "name", taken, name)
    for word, value in (("make", make), ("success", success), ("expert", expert)):
        is_optional = value is None and word != "make"
        expect(is_optional or callable(value), word, "a function", type(value).__name__)

    source = EnvSource(make, success, expert)
    task = describe_env(name, source, tuple(state_keys), tuple(proprio_keys))
    _OWN[name] = task, source
    tasks = tuple(task for task, _ in _OWN.values() if task.suite == suite)
    put_suite(Suite(suite, tasks, _make_env, make_expert=_make_expert, make_group=_make_group))
    return task


def _make_env(task: TaskInfo, options: PoolOptions) -> SuiteEnv:
    return GymEnv(task, options, _OWN[task.name][1])


def _make_group(task: TaskInfo, options: PoolOptions) -> EpisodeGroup:
    return make_group(task, options, _OWN[task.name][1])


def _make_expert(task: TaskInfo) -> Expert:
    expert = _OWN[task.name][1].expert
    if expert is None:
        raise AbilityError(f"expert: expected a task with a scripted expert, got {task.name}")
    return expert
