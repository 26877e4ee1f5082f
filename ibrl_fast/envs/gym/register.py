"""`register_env`: environments that a user's function makes, as tasks of this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ibrl_fast.envs.episodes import EpisodeGroup
from ibrl_fast.envs.experts import Expert
from ibrl_fast.envs.gym.describe import describe_env
from ibrl_fast.envs.gym.env import GymEnv
from ibrl_fast.envs.gym.processes import make_group
from ibrl_fast.envs.gym.source import EnvSource, SuccessRule
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.registry import find_suite, put_suite, suite_names
from ibrl_fast.envs.suite import AbilityError, Suite, SuiteEnv, TaskInfo
from ibrl_fast.errors import expect


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
    before = find_suite(suite) if suite in suite_names() else None
    envs = None if before is None else getattr(before.make_env, "__self__", None)
    is_own = before is None or isinstance(envs, OwnEnvs)
    expect(is_own, "name", f"a suite of one's own, other than {', '.join(suite_names())}", name)
    for word, value in (("make", make), ("success", success), ("expert", expert)):
        is_optional = value is None and word != "make"
        expect(is_optional or callable(value), word, "a function", type(value).__name__)

    source = EnvSource(make, success, expert)
    task = describe_env(name, source, tuple(state_keys), tuple(proprio_keys))
    others = envs.sources if isinstance(envs, OwnEnvs) else {}
    put_suite(OwnEnvs({**others, name: (task, source)}).suite(suite))
    return task


class OwnEnvs:
    """The environments of one suite of a user's.

    Args:
        sources: what is known about each task, and what makes its environments, by the task's name.
    """

    def __init__(self, sources: Mapping[str, tuple[TaskInfo, EnvSource]]) -> None:
        self.sources = sources

    def suite(self, name: str) -> Suite:
        """Return the suite of that name."""
        tasks = tuple(task for task, _ in self.sources.values())
        return Suite(name, tasks, self.make_env, make_expert=self.make_expert, make_group=self.make_group)

    def make_env(self, task: TaskInfo, options: PoolOptions) -> SuiteEnv:
        """Make one environment."""
        return GymEnv(task, options, self.sources[task.name][1])

    def make_group(self, task: TaskInfo, options: PoolOptions) -> EpisodeGroup:
        """Make several that step together."""
        return make_group(task, options, self.sources[task.name][1])

    def make_expert(self, task: TaskInfo, seed: int) -> Expert:
        """Return a task's scripted expert."""
        expert = self.sources[task.name][1].expert
        if expert is None:
            raise AbilityError(f"expert: expected a task with a scripted expert, got {task.name}")
        return expert
