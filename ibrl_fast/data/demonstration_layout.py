"""What a demonstration file declares: compared with each other and with bounds before any value is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import h5py
import numpy as np
import torch

from ibrl_fast.data.demonstration_set import check_alike
from ibrl_fast.data.expected_demos import ExpectedDemos
from ibrl_fast.data.hdf5_objects import exists, located, num_bytes, open_dataset, open_group
from ibrl_fast.data.observation_space import ObsSpec
from ibrl_fast.errors import ArgumentError

IMAGE_SUFFIX = "_image"
VECTORS = ("state", "proprio")
"""Entries in memory that may be joined of several in a file."""
MAX_FEATURES = 1 << 16
"""Numbers of one vector (a state, an action) at one step."""
MAX_IMAGE_SIZE = 1 << 13
"""Height and width of an image, pixels."""

Sources = Mapping[str, Sequence[h5py.Dataset]]


@dataclass(frozen=True)
class DemoLayout:
    """The datasets of one demonstration, none of them read yet; all have one entry per step.

    Attributes:
        name: of its group in the file.
        group: that group.
        steps: T, at least 1.
        seed: with which the episode began, or None.
        model_file: the simulator's model of the episode, or None.
        success: whether it is recorded as one, or None.
        actions: `[T, action_dim]`.
        rewards, dones: `[T]`; None where absent.
        terminated, truncated: `[T]`; None where absent.
        states: `[T, state_size]`; None where absent.
        obs: per key in memory, one image or the vectors that are joined.
        next_obs: the same after each step; None where absent.
    """

    name: str
    group: h5py.Group
    steps: int
    seed: int | None
    model_file: str | None
    success: bool | None
    actions: h5py.Dataset
    rewards: h5py.Dataset | None
    dones: h5py.Dataset | None
    terminated: h5py.Dataset | None
    truncated: h5py.Dataset | None
    states: h5py.Dataset | None
    obs: Sources
    next_obs: Sources | None

    @property
    def observation_space(self) -> dict[str, ObsSpec]:
        """Spec of every observation entry, as it will be in memory."""
        return {key: _spec(parts) for key, parts in self.obs.items()}

    @property
    def num_bytes(self) -> int:
        """Bytes of everything that will be read."""
        sources = [*self.obs.values(), *(self.next_obs or {}).values()]
        datasets = [part for parts in sources for part in parts]
        fields = (self.actions, self.rewards, self.dones, self.terminated, self.truncated, self.states)
        return sum(num_bytes(part) for part in (*datasets, *fields) if part is not None)


def plan_demos(
    data: h5py.Group,
    names: Sequence[str],
    keys: Sequence[str] | None,
    joined: Mapping[str, Sequence[str]],
    expected: ExpectedDemos,
    *,
    needs_rewards: bool,
) -> list[DemoLayout]:
    """Compare what demonstrations declare: as expected, alike, and within this machine's memory.

    Args:
        data: the file's group.
        names: of the demonstrations.
        keys: entries to read, named as in memory; None for every vector and camera.
        joined: per entry in memory the vectors that it is joined of.
        expected: sizes that they must have.
        needs_rewards: refuse a demonstration without `rewards` or `dones`.

    Returns:
        One layout for each name, in the same order.

    Raises:
        ValueError: naming demonstration and field.
    """
    layouts = []
    for name in names:
        with located(name):
            group = open_group(data, name)
            joins = {**joined, **_missing(open_group(group, "obs"), keys or (), joined, expected)}
            layout = _plan_demo(name, group, keys, joins, needs_rewards)
            shapes = {key: spec.shape for key, spec in layout.observation_space.items()}
            expected.check_sizes(shapes, layout.actions.shape[1])
        layouts.append(layout)
    check_alike(
        [layout.observation_space for layout in layouts], [layout.actions.shape[1] for layout in layouts]
    )
    check_memory(sum(layout.num_bytes for layout in layouts))
    return layouts


def check_memory(needed: int) -> None:
    """Raise ArgumentError where that many bytes are more than this machine has."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        raise ArgumentError(
            f"data: expected at most the {memory} bytes of this machine's memory, got {needed}; read fewer "
            "demonstrations or entries"
        )


def _missing(
    obs: h5py.Group, keys: Sequence[str], joined: Mapping[str, Sequence[str]], expected: ExpectedDemos
) -> dict[str, Sequence[str]]:
    """Return of which entries the wanted vectors are joined that a file of another program lacks."""
    return {
        key: parts
        for key, parts in expected.parts.items()
        if key in keys and not joined.get(key) and not exists(obs, key) and all(exists(obs, p) for p in parts)
    }


def _plan_demo(
    name: str,
    group: h5py.Group,
    keys: Sequence[str] | None,
    joined: Mapping[str, Sequence[str]],
    needs_rewards: bool,
) -> DemoLayout:
    # The actions tell the length.
    actions = open_dataset(group, "actions")
    steps = actions.shape[0]
    samples = group.attrs.get("num_samples")
    if not isinstance(samples, int | np.integer) or samples != steps or steps < 1:
        raise ArgumentError(f"num_samples: expected the {steps} steps of actions (at least 1), got {samples}")
    if actions.ndim != 2 or not 1 <= actions.shape[1] <= MAX_FEATURES:
        raise ArgumentError(
            f"actions: expected [steps, action_dim] with 1 to {MAX_FEATURES} numbers, "
            f"got {list(actions.shape)}"
        )
    rewards, dones = (_reward_part(group, name, steps, needs_rewards) for name in ("rewards", "dones"))
    terminated, truncated = None, None
    if exists(group, "terminated"):
        terminated, truncated = _flat(group, "terminated", steps), _flat(group, "truncated", steps)

    # Observations before and after each step.
    obs = open_group(group, "obs")
    with located("obs"):
        names = _sources(obs, keys, joined)
        before = {key: _parts(obs, parts, steps) for key, parts in names.items()}
    states = _vectors(group, "states", steps) if exists(group, "states") else None
    after = None
    if exists(group, "next_obs"):
        next_obs = open_group(group, "next_obs")
        with located("next_obs"):
            after = {key: _parts(next_obs, parts, steps) for key, parts in names.items()}
            for key, parts in before.items():
                expected, got = ([steps, *_spec(p).shape] for p in (parts, after[key]))
                if got != expected:
                    raise ArgumentError(f"{key}: expected {expected} as in obs, got {got}")

    seed = group.attrs.get("seed")
    if seed is not None and not isinstance(seed, int | np.integer):
        raise ArgumentError(f"seed: expected an integer, got {seed!r}")
    model_file = group.attrs.get("model_file")
    if model_file is not None and not isinstance(model_file, str):
        raise ArgumentError(f"model_file: expected text, got {type(model_file).__name__}")
    success = group.attrs.get("success")
    return DemoLayout(
        name=name,
        group=group,
        steps=steps,
        seed=None if seed is None else int(seed),
        model_file=model_file,
        success=bool(success) if isinstance(success, np.bool_) else None,
        actions=actions,
        rewards=rewards,
        dones=dones,
        terminated=terminated,
        truncated=truncated,
        states=states,
        obs=before,
        next_obs=after,
    )


def _reward_part(group: h5py.Group, name: str, steps: int, is_needed: bool) -> h5py.Dataset | None:
    """Open `rewards` or `dones` `[steps]`, which a file for imitation alone may lack."""
    if not exists(group, name):
        if is_needed:
            raise ArgumentError(
                f"{name}: expected a dataset, got none (demos.reward last sets 1 at each demonstration's "
                "end; imitation alone needs none)"
            )
        return None
    return _flat(group, name, steps) if name == "rewards" else open_dataset(group, name, steps)


def _flat(group: h5py.Group, name: str, steps: int) -> h5py.Dataset:
    """Open a dataset `[steps]`."""
    dataset = open_dataset(group, name, steps)
    if dataset.ndim != 1:
        raise ArgumentError(f"{name}: expected [{steps}], got {list(dataset.shape)}")
    return dataset


def _vectors(group: h5py.Group, name: str, steps: int) -> h5py.Dataset:
    """Open a dataset `[steps, features]`."""
    dataset = open_dataset(group, name, steps)
    if dataset.ndim != 2 or not 1 <= dataset.shape[1] <= MAX_FEATURES:
        raise ArgumentError(
            f"{name}: expected [{steps}, features] with 1 to {MAX_FEATURES} numbers, "
            f"got {dataset.dtype} {list(dataset.shape)}"
        )
    return dataset


def _image(group: h5py.Group, name: str, steps: int) -> h5py.Dataset:
    """Open a dataset `[steps, height, width, 3]` uint8."""
    dataset = open_dataset(group, name, steps)
    shape = dataset.shape
    if (
        dataset.dtype != np.uint8
        or dataset.ndim != 4
        or shape[3] != 3
        or not all(1 <= size <= MAX_IMAGE_SIZE for size in shape[1:3])
    ):
        raise ArgumentError(
            f"{name}: expected uint8 [{steps}, height, width, 3], got {dataset.dtype} {list(shape)}"
        )
    return dataset


def _sources(
    obs: h5py.Group, keys: Sequence[str] | None, joined: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Find the datasets of a file's `obs` that make each entry in memory."""
    wanted = {key: list(names) for key, names in joined.items() if names}
    for key, names in wanted.items():
        for name in names:
            # an entry of a group (a/b) is looked at step by step when it is opened
            if not exists(obs, name.strip("/").partition("/")[0]):
                raise ArgumentError(f"{name}: expected a dataset, got none; {_offer(obs, key)}")
            if name.endswith(IMAGE_SUFFIX):
                raise ArgumentError(f"{name}: expected a vector to join to {key}, got a camera's images")
    sources: dict[str, list[str]] = {}
    if keys is None:
        # Every vector and camera that is not part of a joined entry; other kinds (depth, points) stay in the
        # file.
        used = {name for names in wanted.values() for name in names}
        for name in obs:
            image = name.endswith(IMAGE_SUFFIX)
            if name not in used and (image or open_dataset(obs, name).ndim == 2):
                sources[name.removesuffix(IMAGE_SUFFIX) if image else name] = [name]
        return sources | wanted
    for key in keys:
        camera = f"{key}{IMAGE_SUFFIX}"
        if key not in wanted and not exists(obs, key) and not exists(obs, camera):
            raise ArgumentError(f"{key}: expected a dataset, got none; {_offer(obs, key)}")
        sources[key] = wanted.get(key, [camera if exists(obs, camera) else key])
    return sources


def _offer(obs: h5py.Group, key: str) -> str:
    """Say what a file has in place of an entry: for a vector those that can be joined, with their sizes."""
    sizes: dict[str, int] = {}
    for name in sorted(obs):
        # what cannot be read is no offer
        with suppress(ValueError, TypeError):
            dataset = open_dataset(obs, name)
            if dataset.ndim == 2:
                sizes[name] = dataset.shape[1]
    return offer_entries(key, sizes, obs)


def offer_entries(key: str, sizes: Mapping[str, int], names: Iterable[str]) -> str:
    """Say what a file has in place of an entry.

    Args:
        key: the entry in memory; for a vector those that can be joined are offered.
        sizes: numbers in each vector of the file.
        names: all entries of the file.
    """
    if key not in VECTORS or not sizes:
        return f"there are {sorted(name.removesuffix(IMAGE_SUFFIX) for name in names)}"
    there = ", ".join(f"{name} ({size})" for name, size in sizes.items())
    return f"there are {there}; --demos.{key}-keys {','.join(sizes)} joins them, in that order"


def _parts(obs: h5py.Group, names: Sequence[str], steps: int) -> list[h5py.Dataset]:
    """Open the datasets of one entry in memory: one image, or vectors."""
    if names[0].endswith(IMAGE_SUFFIX):
        return [_image(obs, names[0], steps)]
    return [_vectors(obs, name, steps) for name in names]


def _spec(parts: Sequence[h5py.Dataset]) -> ObsSpec:
    """Describe the entry in memory that datasets make."""
    shape = parts[0].shape
    if len(shape) == 4:
        return ObsSpec((shape[3], shape[1], shape[2]), torch.uint8)
    return ObsSpec((sum(part.shape[1] for part in parts),), torch.float32)
