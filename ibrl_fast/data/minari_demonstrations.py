"""Demonstrations from a Minari data set.

| Minari | here |
|---|---|
| Box observation of one axis | `state` |
| Dict observation, its boxes of one axis (of a Dict inside: `a.b`) | vectors to be joined, by `state_keys` |
| its uint8 boxes `[H, W, 3]` or `[3, H, W]` | cameras |
| actions between the bounds of the action space | [-1, 1] |
| `terminations`, `truncations` | `terminated`, `truncated` |
| `infos`: `success` or `is_success`, `[T]` or with the reset's `[T + 1]` | whether a demonstration succeeds |
| an episode's `seed` | `seed` |
| entries of an episode's metadata that are true or false | filter keys |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ibrl_fast.data.checks import check_shape, check_vector
from ibrl_fast.data.demonstration_layout import (
    IMAGE_SUFFIX,
    MAX_FEATURES,
    MAX_IMAGE_SIZE,
    check_memory,
    offer_entries,
)
from ibrl_fast.data.demonstration_reading import Reading
from ibrl_fast.data.demonstration_set import Array, Demonstration, DemonstrationSet
from ibrl_fast.data.hdf5_objects import located
from ibrl_fast.data.minari_files import PREFIX, MinariData, open_minari
from ibrl_fast.errors import ArgumentError, expect

GYM_PREFIX = "gym:"
"""Before the id of a Gymnasium environment in a task's name."""
GYM_TYPE = 2
"""robomimic's number for environments with Gym's face."""
SUCCESS = ("success", "is_success")
"""Names under which environments say in `info` that the task is done."""


@dataclass(frozen=True)
class _Entry:
    """One box of the observation space."""

    shape: tuple[int, ...]
    is_image: bool

    @property
    def frame(self) -> tuple[int, ...]:
        """Shape in memory: an image with its channels first."""
        return (3, *self.shape[:2]) if self.is_image and self.shape[2] == 3 else self.shape


@dataclass(frozen=True)
class _Episode:
    """What is declared of one episode: its steps, its seed, and bytes in the file (0: not said)."""

    number: int
    steps: int
    seed: int | None
    num_bytes: int


def read_minari(
    folder: Path,
    keys: Sequence[str] | None,
    filter_key: str | None,
    max_demos: int | None,
    joined: Mapping[str, Sequence[str]],
    reading: Reading,
) -> DemonstrationSet:
    """Read the chosen episodes of a data set; arguments as of `read_demonstrations`.

    Args:
        folder: of the data, from `find_minari`.
        keys: entries to read; None for every vector and camera.
        filter_key: an entry of the episodes' metadata: those where it is true.
        max_demos: only that many, the first.
        joined: per entry in memory the vectors that it is joined of.
        reading: how.

    Raises:
        ValueError: naming episode and entry.
    """
    data = open_minari(folder)
    kwargs = {
        "action_repeat": 1,  # every step of the environment is there
        "dataset": f"{PREFIX}{data.dataset_id}",
        **{f"{key}_keys": list(names) for key, names in joined.items() if names},
        **({} if reading.reward == "recorded" else {"reward": "sparse"}),
    }
    env_args: dict[str, Any] = {"type": GYM_TYPE, "env_kwargs": kwargs}
    if data.env_id is not None:
        env_args["env_name"] = _task_name(data.env_id, reading.expected.task)
    reading.compare(env_args)

    # What is declared: spaces, then the episodes' lengths
    low, high = _action_bounds(data.action_space)
    entries = _entries(data.observation_space)
    with located("observation_space"):
        sources = _sources(entries, keys, joined)
    shapes = {key: _frame_shape([entries[name] for name in names]) for key, names in sources.items()}
    reading.expected.check_sizes(shapes, len(low))
    episodes = _choose(data, filter_key, max_demos)
    frame_bytes = sum(int(np.prod(entries[name].shape)) for names in sources.values() for name in names)
    in_memory = sum(episode.steps + 1 for episode in episodes) * frame_bytes
    check_memory(max(in_memory, sum(episode.num_bytes for episode in episodes)))

    # The values
    demos = []
    for episode in episodes:
        with located(f"episode {episode.number}"):
            demos.append(_read_episode(data, episode, (low, high), entries, sources, reading))
    _remark(reading, demos, low, high)
    return DemonstrationSet(tuple(demos), env_args, True, (*reading.remarks, *reading.bounds.remarks()))


def _task_name(env_id: str, task: str | None) -> str:
    """Return the name of the task whose environment has that id, as a run spells it: `gym:module:ID` too."""
    if task is not None and task.startswith(GYM_PREFIX) and task.endswith(f":{env_id}"):
        return task
    return f"{GYM_PREFIX}{env_id}"


def _remark(reading: Reading, demos: Sequence[Demonstration], low: Array, high: Array) -> None:
    """Say what was changed, and what could be."""
    reading.look_for_rewards(len(demos), are_recorded=True)
    if (low != -1).any() or (high != 1).any():
        spans = ", ".join(f"[{a:g}, {b:g}]" for a, b in dict.fromkeys(zip(low.tolist(), high.tolist())))
        reading.remarks.append(f"actions brought from {spans} to [-1, 1]")
    knows = any(demo.recorded_success is not None for demo in demos)
    if knows and reading.needs_rewards and reading.reward == "recorded":
        reading.remarks.append(
            "rewards and ends as recorded; demos.reward success takes them from the recorded success"
        )


def _action_bounds(space: Any) -> tuple[Array, Array]:
    """Return the bounds of an action, float64 [action_dim] each."""
    from gymnasium import spaces

    expected = f"a Box [action_dim] of 1 to {MAX_FEATURES} numbers with finite bounds"
    is_box = isinstance(space, spaces.Box) and len(space.shape) == 1
    expect(is_box and 1 <= space.shape[0] <= MAX_FEATURES, "action_space", expected, space)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    are_bounds = bool(np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all())
    expect(are_bounds, "action_space", expected, space)
    return low, high


def _entries(space: Any, above: str = "") -> dict[str, _Entry]:
    """Return what can be observed, by name: boxes of one axis and images; other kinds stay in the file."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        inner = [_entries(part, f"{above}.{name}" if above else str(name)) for name, part in space.items()]
        return {name: entry for part in inner for name, entry in part.items()}
    if not isinstance(space, spaces.Box):
        return {}
    shape = tuple(space.shape)
    if len(shape) == 1 and 1 <= shape[0] <= MAX_FEATURES:
        return {above or "state": _Entry(shape, is_image=False)}
    is_image = space.dtype == np.uint8 and len(shape) == 3 and 3 in (shape[0], shape[2])
    if is_image and all(1 <= size <= MAX_IMAGE_SIZE for size in shape):
        return {above or "image": _Entry(shape, is_image=True)}
    return {}


def _sources(
    entries: Mapping[str, _Entry], keys: Sequence[str] | None, joined: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Find the entries of the data set that make each entry in memory."""
    vectors = {name: entry.shape[0] for name, entry in entries.items() if not entry.is_image}
    wanted = {key: list(names) for key, names in joined.items() if names}
    for key, names in wanted.items():
        for name in names:
            if name not in vectors:
                raise ArgumentError(
                    f"{name}: expected a vector, got none; {offer_entries(key, vectors, entries)}"
                )
    if keys is None:
        used = {name for names in wanted.values() for name in names}
        own = {
            name.removesuffix(IMAGE_SUFFIX) if entry.is_image else name: [name]
            for name, entry in entries.items()
            if name not in used
        }
        return own | wanted
    sources = {}
    for key in keys:
        names = [name for name in (key, f"{key}{IMAGE_SUFFIX}") if name in entries]
        if key not in wanted and not names:
            raise ArgumentError(f"{key}: expected a box, got none; {offer_entries(key, vectors, entries)}")
        sources[key] = wanted.get(key, names[:1])
    return sources


def _frame_shape(entries: Sequence[_Entry]) -> tuple[int, ...]:
    """Return the shape of one frame in memory, of one image or of vectors that are joined."""
    return entries[0].frame if entries[0].is_image else (sum(entry.shape[0] for entry in entries),)


def _choose(data: MinariData, filter_key: str | None, max_demos: int | None) -> list[_Episode]:
    """Return the chosen episodes as they are declared."""
    if max_demos is not None and max_demos < 1:
        raise ArgumentError(f"max_demos: expected at least 1, got {max_demos}")
    chosen: list[_Episode] = []
    flags: dict[str, bool] = {}
    for number, metadata, num_bytes in data.declared_episodes():
        own = {name: bool(value) for name, value in metadata.items() if isinstance(value, bool | np.bool_)}
        flags |= own
        if filter_key is None or own.get(filter_key, False):
            steps, seed = metadata.get("total_steps"), metadata.get("seed")
            is_number = isinstance(steps, int | np.integer) and bool(steps >= 1)
            expect(is_number, f"episode {number}: total_steps", "a number of at least 1", steps)
            seed = int(seed) if isinstance(seed, int | np.integer) else None
            chosen.append(_Episode(number, int(steps or 0), seed, num_bytes))
        if len(chosen) == max_demos:
            break
    if filter_key is not None and filter_key not in flags:
        known = f"one of the filter keys {sorted(flags)}" if flags else "no filter key, as there is no flag"
        raise ArgumentError(f"episode metadata: expected {known}, got {filter_key!r}")
    expect(bool(chosen), "episodes", "at least one", "none")
    return chosen


def _read_episode(
    data: MinariData,
    declared: _Episode,
    bounds: tuple[Array, Array],
    entries: Mapping[str, _Entry],
    sources: Mapping[str, Sequence[str]],
    reading: Reading,
) -> Demonstration:
    """Read one episode, compared with what was declared of it."""
    steps, episode = declared.steps, data.read_episode(declared.number)
    low, high = bounds
    actions = np.asarray(episode["actions"])
    check_shape("actions", actions, (steps, len(low)))
    expect(actions.dtype.kind == "f", "actions", "floating values", actions.dtype)
    scaled = reading.bounds(2.0 * (actions.astype(np.float64) - low) / (high - low) - 1.0)

    # Observations, the last one included
    observations = {}
    with located("observations"):
        values = _values(episode["observations"])
        for key, names in sources.items():
            parts = []
            for name in names:
                value = np.asarray(values.get("", values.get(name)))
                check_shape(name, value, (steps + 1, *entries[name].shape))
                parts.append(value)
            observations[key] = _in_memory(names, parts, entries[names[0]])

    # Rewards and ends
    rewards = check_vector("rewards", np.asarray(episode["rewards"]), (steps,))
    ends = {name: np.asarray(episode[name]) for name in ("terminations", "truncations")}
    for name, flags in ends.items():
        check_shape(name, flags, (steps,))
    terminated, truncated = (flags.astype(bool) for flags in ends.values())
    successes = _successes(episode.get("infos"), steps)
    last = np.arange(steps) == steps - 1
    if reading.last_is_reward:
        rewards, terminated, truncated = last.astype(np.float32), last, ~last & last
    elif reading.reward == "success":
        names = sorted(episode.get("infos") or ())
        expect(successes is not None, "infos", f"{' or '.join(SUCCESS)} for demos.reward success", names)
        assert successes is not None
        # as in a run: 1 in the step that succeeds, which ends the episode
        if successes.any():
            steps = int(successes.argmax()) + 1
            terminated, truncated = successes[:steps], np.zeros(steps, np.bool_)
            scaled = scaled[:steps]
            observations = {key: array[: steps + 1] for key, array in observations.items()}
        rewards = successes[:steps].astype(np.float32)

    return Demonstration(
        observations,
        scaled,
        rewards,
        terminated,
        truncated,
        seed=declared.seed,
        recorded_success=None if successes is None else bool(successes.any()),
    )


def _values(observations: Any, above: str = "") -> dict[str, Any]:
    """Return the values of every entry under the names of `_entries`; of a plain box under an empty one."""
    if not isinstance(observations, Mapping):
        return {above: observations}
    inner = [_values(part, f"{above}.{name}" if above else str(name)) for name, part in observations.items()]
    return {name: value for part in inner for name, value in part.items()}


def _in_memory(names: Sequence[str], parts: Sequence[Array], first: _Entry) -> Array:
    """Make one entry in memory: an image with its channels first, or vectors joined."""
    if first.is_image:
        is_last = first.frame != first.shape
        return np.ascontiguousarray(parts[0].transpose(0, 3, 1, 2) if is_last else parts[0])
    return np.concatenate([check_vector(name, part, part.shape) for name, part in zip(names, parts)], axis=1)


def _successes(infos: Any, steps: int) -> Array | None:
    """Return whether the task was done in each step, bool [T]; None where it is not recorded."""
    for name in SUCCESS:
        if isinstance(infos, Mapping) and name in infos:
            values = np.asarray(infos[name])
            expected = f"[{steps}] or, with the reset's, [{steps + 1}]"
            is_flag = values.dtype.kind in "biuf" and values.shape in ((steps,), (steps + 1,))
            expect(is_flag, f"infos: {name}", expected, f"{values.dtype} {list(values.shape)}")
            return values[-steps:] > 0
    return None
