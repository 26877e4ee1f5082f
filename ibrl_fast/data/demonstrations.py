"""Demonstration files in robomimic's HDF5 layout.

    data                      attributes: total (steps), env_args (JSON)
    data/demo_0               attributes: num_samples, seed (ours)
    data/demo_0/obs/<key>     [T, ...], images as <camera>_image [T, height, width, 3] uint8
    data/demo_0/next_obs/<key>
    data/demo_0/{actions, rewards, dones, states}, ours also {terminated, truncated}
    mask/<filter key>         names of the demonstrations that belong to it

In memory a camera is named `<camera>` and its images are [3, height, width]. Layout after the robomimic
documentation, "Dataset structure".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from ibrl_fast.data.checks import check_vector
from ibrl_fast.data.demonstration_set import Array, Demonstration, DemonstrationError, DemonstrationSet
from ibrl_fast.errors import ArgumentError
from ibrl_fast.files import write_bytes

__all__ = [
    "Demonstration",
    "DemonstrationError",
    "DemonstrationSet",
    "read_demonstrations",
    "write_demonstrations",
]

_IMAGE_SUFFIX = "_image"
# The oldest format in which HDF5 itself has checksums of everything but the values.
_FORMAT = ("v110", "v110")
# What h5py and numpy raise on damaged files, beside ValueError and TypeError.
_UNREADABLE = (OSError, RuntimeError, KeyError, AttributeError, MemoryError)


def write_demonstrations(
    path: str | os.PathLike[str],
    demos: Sequence[Demonstration],
    env_args: Mapping[str, Any] | None = None,
    *,
    masks: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Writes a whole file or (on any error) leaves what was there.

    Args:
        path: the file to write; an older one is replaced.
        demos: at least one, numbered from 0 in this order.
        env_args: what made the environment, stored as JSON; None for the set's own.
        masks: filter key to the numbers of its demonstrations.

    Errors: ValueError for demonstrations that differ or a mask that names one that is not there.
    """
    whole = demos if isinstance(demos, DemonstrationSet) else DemonstrationSet(tuple(demos))
    masks = masks or {}
    for key, numbers in masks.items():
        if not numbers or any(not 0 <= number < len(whole) for number in numbers):
            raise ArgumentError(
                f"masks[{key!r}]: expected numbers in [0, {len(whole) - 1}], got {list(numbers)}"
            )
    arguments = json.dumps(dict(whole.env_args if env_args is None else env_args), indent=4)

    # Made in memory, since HDF5 crashes where a disk is full, and written as a whole.
    with h5py.File("demos", "w", driver="core", backing_store=False, libver=_FORMAT) as file:
        data = file.create_group("data")
        data.attrs["total"] = whole.num_steps
        data.attrs["env_args"] = arguments
        for number, demo in enumerate(whole):
            _write_demo(data.create_group(f"demo_{number}"), demo)
        for key, numbers in masks.items():
            file[f"mask/{key}"] = np.asarray([f"demo_{number}".encode() for number in numbers])
        file.flush()
        content = file.id.get_file_image()
    write_bytes(path, content)


def _write_demo(group: h5py.Group, demo: Demonstration) -> None:
    """One episode; observations twice (before and after each step), as robomimic's loader wants them."""
    group.attrs["num_samples"] = len(demo)
    if demo.seed is not None:
        group.attrs["seed"] = demo.seed
    for key, array in demo.observations.items():
        image = array.ndim == 4
        name = f"{key}{_IMAGE_SUFFIX}" if image else key
        stored = array.transpose(0, 2, 3, 1) if image else array
        packing = {"compression": "gzip", "compression_opts": 4} if image else {}
        chunks = (1, *stored.shape[1:]) if image else None
        group.create_dataset(f"obs/{name}", data=stored[:-1], chunks=chunks, **packing)
        group.create_dataset(f"next_obs/{name}", data=stored[1:], chunks=chunks, **packing)
    group["actions"] = demo.actions
    group["rewards"] = demo.rewards
    group["dones"] = (demo.terminated | demo.truncated).astype(np.int64)
    group["terminated"] = demo.terminated
    group["truncated"] = demo.truncated
    if demo.states is not None:
        group["states"] = demo.states


def read_demonstrations(
    path: str | os.PathLike[str],
    *,
    keys: Sequence[str] | None = None,
    filter_key: str | None = None,
    max_demos: int | None = None,
    state_keys: Sequence[str] = (),
    proprio_keys: Sequence[str] = (),
) -> DemonstrationSet:
    """Reads demonstrations in the order of their numbers.

    Files of other programs have no `terminated` and `truncated`: an episode then counts as terminated where
    its last reward is positive and as truncated otherwise. Without `next_obs` the observation after the last
    step is unknown: a terminated episode repeats its last one (nothing is bootstrapped from it), any other
    loses its last step.

    Args:
        path: the HDF5 file.
        keys: entries to read, named as in memory (`state`, `corner2`, ...); None for every vector and camera.
        filter_key: only the demonstrations of `mask/<filter_key>`.
        max_demos: only that many, the first.
        state_keys: low-dimensional entries of the file that, joined in this order, become `state`.
        proprio_keys: the same for `proprio`.

    Errors: DemonstrationError naming file, demonstration and field.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read_file(
                file, keys, filter_key, max_demos, {"state": state_keys, "proprio": proprio_keys}
            )
    except FileNotFoundError as error:
        raise DemonstrationError(f"{path}: file: expected a file, got none") from error
    except _UNREADABLE as error:
        raise DemonstrationError(
            f"{path}: file: expected a complete HDF5 file, got: {_line(error)}"
        ) from error
    except (ValueError, TypeError) as error:
        raise DemonstrationError(f"{path}: {_line(error)}") from error


@contextmanager
def _located(place: str) -> Iterator[None]:
    """Puts a place in front of every error raised inside a `with` block."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"{place}: {error}") from error
    except _UNREADABLE as error:
        raise ArgumentError(f"{place}: expected readable data, got: {_line(error)}") from error


def _line(error: BaseException) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())


def _read_file(
    file: h5py.File,
    keys: Sequence[str] | None,
    filter_key: str | None,
    max_demos: int | None,
    joined: Mapping[str, Sequence[str]],
) -> DemonstrationSet:
    """The chosen demonstrations of an open file."""
    data = _group(file, "data")
    try:
        env_args = json.loads(data.attrs.get("env_args", "{}"))
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"data: env_args: expected JSON, got: {error}") from error
    if not isinstance(env_args, dict):
        raise ArgumentError(f"data: env_args: expected a JSON object, got {type(env_args).__name__}")
    demos = []
    for name in _demo_names(file, data, filter_key, max_demos):
        with _located(name):
            demos.append(_read_demo(_group(data, name), keys, joined))
    return DemonstrationSet(tuple(demos), env_args)


def _demo_names(
    file: h5py.File, data: h5py.Group, filter_key: str | None, max_demos: int | None
) -> list[str]:
    """Names of the chosen demonstrations in the order of their numbers."""
    if max_demos is not None and max_demos < 1:
        raise ArgumentError(f"max_demos: expected at least 1, got {max_demos}")
    if filter_key is None:
        names = [name for name in data if name.startswith("demo_")]
    else:
        masks = sorted(file["mask"]) if "mask" in file else []
        if filter_key not in masks:
            raise ArgumentError(f"mask: expected one of the filter keys {masks}, got {filter_key!r}")
        names = [bytes(name).decode() for name in file["mask"][filter_key][:]]
    for name in names:
        if not name.removeprefix("demo_").isdigit():
            raise ArgumentError(f"data: expected demonstrations named demo_<number>, got {name!r}")
    if not names:
        raise ArgumentError("data: expected at least one demonstration, got none")
    return sorted(names, key=lambda name: int(name.removeprefix("demo_")))[:max_demos]


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    """A group that must be there."""
    if name not in parent or not isinstance(parent[name], h5py.Group):
        raise ArgumentError(f"{name}: expected a group, got none")
    return parent[name]


def _dataset(parent: h5py.Group, name: str, steps: int | None = None) -> Array:
    """A dataset that must be there, with one entry per step."""
    if name not in parent or not isinstance(parent[name], h5py.Dataset):
        raise ArgumentError(f"{name}: expected a dataset, got none")
    with _located(name):
        array = parent[name][()]
    if not isinstance(array, np.ndarray) or array.ndim < 1:
        raise ArgumentError(f"{name}: expected an array, got a scalar")
    if steps is not None and array.shape[0] != steps:
        raise ArgumentError(f"{name}: expected {steps} entries, got {array.shape[0]}")
    return array


def _read_demo(
    group: h5py.Group, keys: Sequence[str] | None, joined: Mapping[str, Sequence[str]]
) -> Demonstration:
    """One episode."""
    actions = _dataset(group, "actions")
    steps = actions.shape[0]
    samples = group.attrs.get("num_samples")
    if not isinstance(samples, int | np.integer) or samples != steps or steps < 1:
        raise ArgumentError(f"num_samples: expected the {steps} steps of actions (at least 1), got {samples}")
    rewards = _dataset(group, "rewards", steps)
    _dataset(group, "dones", steps)

    # How the episode ended: as recorded, or judged by its last reward.
    if "terminated" in group:
        terminated = _dataset(group, "terminated", steps).astype(bool)
        truncated = _dataset(group, "truncated", steps).astype(bool)
    else:
        last = np.arange(steps) == steps - 1
        terminated = last & bool(rewards[-1] > 0)
        truncated = last & ~terminated

    # Observations, and the one after the last step where it was recorded.
    obs = _group(group, "obs")
    with _located("obs"):
        sources = _sources(obs, keys, joined)
        observations = {key: _observation(obs, names, steps) for key, names in sources.items()}
    states = _dataset(group, "states", steps) if "states" in group else None
    if "next_obs" in group:
        next_obs = _group(group, "next_obs")
        with _located("next_obs"):
            after = {key: _observation(next_obs, names, steps) for key, names in sources.items()}
            for key, array in observations.items():
                if after[key].shape != array.shape:
                    raise ArgumentError(
                        f"{key}: expected {list(array.shape)} as in obs, got {list(after[key].shape)}"
                    )
        observations = {key: np.concatenate([array, after[key][-1:]]) for key, array in observations.items()}
    elif terminated[-1]:
        observations = {key: np.concatenate([array, array[-1:]]) for key, array in observations.items()}
    else:
        if steps == 1:
            raise ArgumentError("next_obs: expected it for an episode of one step without success, got none")
        actions, rewards, terminated = actions[:-1], rewards[:-1], terminated[:-1]
        truncated = truncated[1:]
        states = None if states is None else states[:-1]

    seed = group.attrs.get("seed")
    if seed is not None and not isinstance(seed, int | np.integer):
        raise ArgumentError(f"seed: expected an integer, got {seed!r}")
    return Demonstration(
        observations, actions, rewards, terminated, truncated, states, None if seed is None else int(seed)
    )


def _sources(
    obs: h5py.Group, keys: Sequence[str] | None, joined: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Which datasets of a file's `obs` make each entry in memory."""
    wanted = {key: list(names) for key, names in joined.items() if names}
    sources: dict[str, list[str]] = {}
    if keys is None:
        # Every vector and camera that is not part of a joined entry; other kinds (depth, points) stay in the
        # file.
        used = {name for names in wanted.values() for name in names}
        for name in obs:
            image = name.endswith(_IMAGE_SUFFIX)
            if name not in used and (image or obs[name].ndim == 2):
                sources[name.removesuffix(_IMAGE_SUFFIX) if image else name] = [name]
        return sources | wanted
    for key in keys:
        camera = f"{key}{_IMAGE_SUFFIX}"
        if key not in wanted and key not in obs and camera not in obs:
            there = sorted(name.removesuffix(_IMAGE_SUFFIX) for name in obs)
            raise ArgumentError(f"{key}: expected a dataset, got none; there are {there}")
        sources[key] = wanted.get(key, [camera if camera in obs else key])
    return sources


def _observation(obs: h5py.Group, names: Sequence[str], steps: int) -> Array:
    """One entry in memory: an image turned to CHW, or vectors joined along their features."""
    parts = []
    for name in names:
        array = _dataset(obs, name, steps)
        got = f"{array.dtype} {list(array.shape)}"
        if name.endswith(_IMAGE_SUFFIX):
            if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
                raise ArgumentError(f"{name}: expected uint8 [{steps}, height, width, 3], got {got}")
            return np.ascontiguousarray(array.transpose(0, 3, 1, 2))
        if array.ndim != 2:
            raise ArgumentError(f"{name}: expected [{steps}, features], got {got}")
        parts.append(check_vector(name, array, array.shape))
    return np.concatenate(parts, axis=1)
