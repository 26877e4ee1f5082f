"""Observations made anew from the simulator states of a demonstration file, pictures included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.data.demonstration_set import Demonstration, DemonstrationError, DemonstrationSet
from ibrl_fast.data.expected_demos import OWN_ENTRY
from ibrl_fast.envs.base_pool import BasePool, Observations
from ibrl_fast.envs.factory import make_pool
from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.registry import find_suite, resolve_task
from ibrl_fast.envs.suite import AbilityError, EnvState, Recording
from ibrl_fast.errors import ArgumentError


@dataclass
class _Work:
    """A demonstration under way in one environment of the pool."""

    number: int
    demo: Demonstration
    state: EnvState | None = None
    frames: list[Observations] = field(default_factory=list)


def convert_demonstrations(
    demos: DemonstrationSet,
    name: object,
    *,
    task: str | None = None,
    options: PoolOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> DemonstrationSet:
    """Restore every state of demonstrations in a pool and observe it.

    Actions, rewards, ends, states, seeds and models stay as they are. The observation after the last step is
    that of the last action, taken from the last state. The result holds vectors, their parts by name, and the
    cameras.

    Args:
        demos: with `states`.
        name: what begins the message of an error, such as their file.
        task: name as in `make_pool`; None: the demonstrations' own.
        options: of the pool, such as `num_envs`, `cameras` and `image_size`; None: the defaults.
        progress: called with the number of states done.

    Raises:
        DemonstrationError: demonstrations without states, or with states of another task.
        AbilityError: files do not hold the states of the task.
    """
    info = resolve_task(str(demos.env_args.get("env_name", "")) if task is None else task)
    make_recording = find_suite(info.suite).make_recording
    if make_recording is None:
        raise AbilityError(f"convert: expected a task whose states files hold, got {info.name}")
    recording = make_recording(info)
    for number, demo in enumerate(demos):
        if demo.states is None:
            raise DemonstrationError(f"{name}: demo {number}: states: expected a dataset, got none")

    # how often an action was repeated is part of its last step; a file of others repeats none
    recorded = demos.env_args.get(OWN_ENTRY)
    repeat = recorded.get("action_repeat", 1) if isinstance(recorded, dict) else 1
    asked = PoolOptions() if options is None else options
    asked = replace(asked, autoreset="disabled", action_repeat=int(repeat), max_episode_steps=2)
    asked = replace(asked, num_envs=min(asked.num_envs, len(demos)), frame_stack=1)
    pool = make_pool(info.name, asked)
    try:
        observed = _observe(pool, recording, demos, name, progress)
    finally:
        pool.close()
    converted = tuple(
        replace(demo, observations=_with_parts(pool, frames)) for demo, frames in zip(demos, observed)
    )
    own = {
        **(recorded if isinstance(recorded, dict) else {}),
        "observation": asked.observation,
        "cameras": list(pool.options.image_keys),
        "image_size": asked.image_size,
        "action_repeat": int(repeat),
        "control_period": info.control_period,
        "states_of_version": demos.env_args.get("env_version"),
    }
    remarks = (*demos.remarks, *recording.remarks(demos.env_args))
    env_args = {**recording.env_args(pool.options), OWN_ENTRY: own}
    return DemonstrationSet(converted, env_args, demos.has_rewards, remarks)


def _observe(
    pool: BasePool,
    recording: Recording,
    demos: DemonstrationSet,
    name: object,
    progress: Callable[[int], None] | None,
) -> list[list[Observations]]:
    """Return the observations of every demonstration, one more than it has steps."""
    pool.reset(seed=0)
    template = pool.get_state()
    pending = iter(enumerate(demos))
    slots: list[_Work | None] = [_next(pending) for _ in range(pool.num_envs)]
    done: dict[int, list[Observations]] = {}
    count = 0
    while any(slots):
        # the next row of every demonstration under way, all environments at once
        for slot, work in enumerate(slots):
            if work is not None:
                _fill(template, slot, work, recording, name)
        observations = pool.set_state(template)
        last = False
        for slot, work in enumerate(slots):
            if work is not None:
                work.frames.append(_row(observations, slot))
                count += 1
                last = last or len(work.frames) == len(work.demo)

        # what the last actions lead to; the other environments are restored before they are looked at again
        if last:
            actions = np.zeros((pool.num_envs, pool.task.action_dim), dtype=np.float32)
            ended = [work for work in slots if work is not None and len(work.frames) == len(work.demo)]
            for slot, work in enumerate(slots):
                if work in ended and work is not None:
                    actions[slot] = work.demo.actions[-1]
            after, *_ = pool.step(actions)
            for slot, work in enumerate(slots):
                if work in ended and work is not None:
                    work.frames.append(_row(after, slot))
                    done[work.number] = work.frames
                    slots[slot] = _next(pending)
        if progress is not None:
            progress(count)
    return [done[number] for number in range(len(demos))]


def _next(pending: Any) -> _Work | None:
    entry = next(pending, None)
    return None if entry is None else _Work(*entry)


def _fill(
    template: dict[str, npt.NDArray[Any]],
    slot: int,
    work: _Work,
    recording: Recording,
    name: object,
) -> None:
    """Put a demonstration's next state into the pool's."""
    assert work.demo.states is not None
    try:
        row = work.demo.states[len(work.frames)]
        work.state = recording.restore(row, work.demo.model_file, work.state)
    except ArgumentError as error:
        raise DemonstrationError(f"{name}: demo {work.number}: {error}") from error
    for key, value in work.state.items():
        template[key][slot] = value


def _row(observations: Observations, slot: int) -> Observations:
    """Copy one environment's observation: the pool may reuse its buffers."""
    return {key: np.array(value[slot]) for key, value in observations.items()}


def _with_parts(pool: BasePool, frames: list[Observations]) -> dict[str, npt.NDArray[Any]]:
    """Return one demonstration's observations `[T + 1, ...]`, vectors also by their parts."""
    arrays = {key: np.stack([frame[key] for frame in frames]) for key in frames[0]}
    for key in tuple(arrays):
        arrays |= pool.task.split(key, arrays[key])
    return arrays
