"""Demonstrations from scripted experts, every episode with its seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.data.demonstration_set import Demonstration, DemonstrationSet
from ibrl_fast.envs.base_pool import Observations
from ibrl_fast.envs.experts import Expert, make_expert
from ibrl_fast.envs.factory import make_pool
from ibrl_fast.envs.options import Observation, PoolOptions
from ibrl_fast.envs.registry import resolve_task
from ibrl_fast.envs.rollout import EpisodeStep, run_episodes
from ibrl_fast.envs.suite import TaskInfo
from ibrl_fast.errors import ArgumentError
from ibrl_fast.seeding import derive_env_seed
from ibrl_fast.training.state_record import StateRecord


class ExpertFailedError(ArgumentError, RuntimeError):
    """The scripted expert did not succeed often enough under the options given."""


def collect_demonstrations(
    task: str,
    episodes: int,
    *,
    options: PoolOptions | None = None,
    expert: Expert | None = None,
    action_noise: float = 0.0,
    success_only: bool = True,
    max_attempts: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **changes: Any,
) -> DemonstrationSet:
    """Let a scripted expert act until `episodes` demonstrations are there.

    Attempt i starts from `derive_env_seed(seed, i)`, which is recorded as the demonstration's seed; the
    result does not depend on `num_envs`. Actions are stored as they were executed, noise included, clipped to
    [-1, 1]. Where the task's environments save their state, it is stored before each step (`state_record`),
    so that demonstrations can be drawn later.

    Args:
        task: name as in `make_pool`.
        episodes: demonstrations wanted.
        options: of the pool, such as `seed` and `observation`; None: the defaults.
        expert: `state` float [state_dim] -> action [action_dim] in [-1, 1], clipped to that; None: the task's
            own.
        action_noise: standard deviation of Gaussian noise added to every action of the expert.
        success_only: keep successful episodes alone.
        max_attempts: episodes to try at most; 20 per demonstration by default.
        progress: called after every attempt with (demonstrations so far, attempts so far).
        changes: options by name that replace those.

    Raises:
        ArgumentError: unknown task or option.
        AbilityError: the task's suite has no scripted experts, and none is given.
        ExpertFailedError: too few successes within `max_attempts`.
    """
    _check(episodes, action_noise, max_attempts)
    asked = (PoolOptions() if options is None else options).changed(changes)
    info = resolve_task(task).observed_by(asked)
    if expert is None:
        make_expert(task)  # a task without one is refused before any work
    seed = asked.seed
    limit = 20 * episodes if max_attempts is None else max_attempts
    record = StateRecord(info)
    attempts: dict[int, list[EpisodeStep]] = {}
    finished: dict[int, bool] = {}

    def attempt_seeds() -> Iterator[int]:
        """Yield new attempts as long as demonstrations are missing."""
        for attempt in range(limit):
            if sum(finished.values()) >= episodes:
                return
            yield derive_env_seed(seed, attempt)

    experts: dict[int, Expert] = {}
    noise: dict[int, np.random.Generator] = {}

    def act(
        observations: Observations, running: npt.NDArray[np.int64], started: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Return the expert's action with each attempt's own noise."""
        actions = np.zeros((len(running), info.action_dim), dtype=np.float32)
        record.note(pool, running)
        for slot, attempt in enumerate(running.tolist()):
            if attempt < 0:
                continue
            if attempt not in experts:
                own = make_expert(task, derive_env_seed(seed, attempt)) if expert is None else expert
                experts[attempt] = own
            actions[slot] = _checked(experts[attempt](observations["state"][slot]), info.action_dim)
            if action_noise > 0.0:
                generator = noise.setdefault(attempt, np.random.default_rng((seed, attempt)))
                actions[slot] += action_noise * generator.standard_normal(info.action_dim).astype(np.float32)
        return actions

    def on_step(step: EpisodeStep) -> None:
        """Keep the step; at the end of an attempt decide whether it counts."""
        attempts.setdefault(step.episode, []).append(_owned(step))
        if step.terminated or step.truncated:
            finished[step.episode] = step.success or not success_only
            noise.pop(step.episode, None)
            del experts[step.episode]
            if not finished[step.episode]:
                del attempts[step.episode]
                record.forget(step.episode)
            if progress is not None:
                progress(min(sum(finished.values()), episodes), len(finished))

    # the expert needs the state even where it is not wanted; proprioception is part of it
    if "proprio" in asked.vector_keys and not info.has_parts("proprio", "state"):
        raise ArgumentError(
            f"observation: expected state, pixels or both for the expert of {info.name}, "
            f"got {asked.observation!r}"
        )
    observation: Observation = asked.observation if "state" in asked.vector_keys else "both"
    pool = make_pool(task, replace(asked, observation=observation, autoreset="disabled"))
    try:
        run_episodes(pool, attempt_seeds(), act, on_step)
    finally:
        pool.close()

    # the earliest attempts count, so that parallel environments change nothing
    chosen = sorted(attempt for attempt, counts in finished.items() if counts)[:episodes]
    if len(chosen) < episodes:
        raise ExpertFailedError(
            f"{info.name}: expected {episodes} successes in {limit} episodes, got {len(chosen)}"
        )
    keys = [*asked.vector_keys, *pool.options.image_keys]
    demos = tuple(
        replace(
            _demonstration(attempts[attempt], keys, derive_env_seed(seed, attempt), info),
            states=record.states(attempt),
            model_file=record.model_file(attempt),
        )
        for attempt in chosen
    )
    kwargs = {
        "observation": asked.observation,
        "cameras": list(pool.options.cameras or ()),
        "image_size": asked.image_size,
        "action_repeat": asked.action_repeat,
        "control_period": info.control_period,
        "max_episode_steps": asked.max_episode_steps,
        "reward": asked.reward,
        "action_noise": action_noise,
        "seed": seed,
    }
    kwargs |= {f"{vector}_keys": list(names) for vector, names in info.joined.items()}
    return DemonstrationSet(demos, record.env_args(pool.options, kwargs))


def _checked(action: Any, action_dim: int) -> npt.NDArray[np.float32]:
    """Return an expert's action [action_dim] within [-1, 1]."""
    array = np.asarray(action, dtype=np.float32)
    if array.shape != (action_dim,) or not np.isfinite(array).all():
        got = list(array.shape) if array.shape != (action_dim,) else array.tolist()
        raise ArgumentError(f"expert: expected {action_dim} finite numbers, got {got}")
    return np.clip(array, -1.0, 1.0)


def _owned(step: EpisodeStep) -> EpisodeStep:
    """Copy a step, so that it stays as it is: a pool may reuse the buffers behind its observations."""
    copies = [
        {key: np.array(value) for key, value in view.items()}
        for view in (step.observation, step.next_observation)
    ]
    return replace(step, observation=copies[0], next_observation=copies[1], action=step.action.copy())


def _demonstration(steps: list[EpisodeStep], keys: list[str], seed: int, task: TaskInfo) -> Demonstration:
    """Steps of one episode as arrays, the final observation included; vectors also by their parts."""
    whole = {
        key: np.stack([step.observation[key] for step in steps] + [steps[-1].next_observation[key]])
        for key in steps[0].observation
    }
    parts = task.split("state", whole["state"])
    if "proprio" in keys:
        whole["proprio"] = np.concatenate([parts[name] for name in task.parts["proprio"]], axis=-1)
    observations = {key: whole[key] for key in keys}
    observations |= {name: parts[name] for key in keys for name in task.parts.get(key, {})}
    return Demonstration(
        observations=observations,
        actions=np.stack([step.action for step in steps]),
        rewards=np.array([step.reward for step in steps], dtype=np.float32),
        terminated=np.array([step.terminated for step in steps], dtype=np.bool_),
        truncated=np.array([step.truncated for step in steps], dtype=np.bool_),
        seed=seed,
    )


def _check(episodes: int, action_noise: float, max_attempts: int | None) -> None:
    if isinstance(episodes, bool) or not isinstance(episodes, int) or episodes < 1:
        raise ArgumentError(f"episodes: expected an integer of at least 1, got {episodes!r}")
    if not np.isfinite(action_noise) or action_noise < 0.0:
        raise ArgumentError(f"action_noise: expected a finite number of at least 0, got {action_noise}")
    if max_attempts is not None and max_attempts < episodes:
        raise ArgumentError(f"max_attempts: expected at least episodes={episodes}, got {max_attempts}")
