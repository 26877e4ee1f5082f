"""Demonstration files in robomimic's HDF5 layout.

    data                      attributes: total (steps), env_args (JSON)
    data/demo_0               attributes: num_samples, model_file (if any), ours also seed and success
    data/demo_0/obs/<key>     [T, ...], images as <camera>_image [T, height, width, 3] uint8
    data/demo_0/next_obs/<key>
    data/demo_0/{actions, rewards, dones, states}, ours also {terminated, truncated}
    mask/<filter key>         names of the demonstrations that belong to it

In memory a camera is named `<camera>` and its images are [3, height, width]. Layout after the robomimic
documentation, "Dataset structure"; data for imitation alone may lack rewards and ends. Files written here
carry checksums of everything (`hdf5_seals`), which are compared when they are read; files of other programs
are read without. What a file declares is compared and bounded before any value is read (`expected_demos`,
`demonstration_layout`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import h5py
import numpy as np

from ibrl_fast.data.action_bounds import ActionBounds
from ibrl_fast.data.checks import check_vector
from ibrl_fast.data.demonstration_layout import IMAGE_SUFFIX, DemoLayout, plan_demos
from ibrl_fast.data.demonstration_masks import demo_names
from ibrl_fast.data.demonstration_reading import Reading
from ibrl_fast.data.demonstration_set import Array, Demonstration, DemonstrationError, DemonstrationSet
from ibrl_fast.data.expected_demos import ExpectedDemos, RewardSource
from ibrl_fast.data.hdf5_objects import UNREADABLE, line, located, open_group
from ibrl_fast.data.hdf5_seals import check_group, is_sealed, read_dataset, seal_group, write_dataset
from ibrl_fast.data.minari_demonstrations import read_minari
from ibrl_fast.data.minari_files import find_minari
from ibrl_fast.errors import ArgumentError, expect
from ibrl_fast.files import kind_of, write_bytes

__all__ = [
    "Demonstration",
    "DemonstrationError",
    "DemonstrationSet",
    "ExpectedDemos",
    "read_demonstrations",
    "warn_without_success",
    "write_demonstrations",
]

# The oldest format in which HDF5 itself has checksums of everything but the values.
_FORMAT = ("v110", "v110")


def write_demonstrations(
    path: str | os.PathLike[str],
    demos: Sequence[Demonstration],
    env_args: Mapping[str, Any] | None = None,
    *,
    masks: Mapping[str, Sequence[int]] | None = None,
    extra: Sequence[Mapping[str, Array]] | None = None,
) -> None:
    """Write demonstrations as a whole file; on any error what was there stays.

    Rewards and ends that were never recorded (`DemonstrationSet.has_rewards`) are left out.

    Args:
        path: the file to write; an older one is replaced.
        demos: at least one, numbered from 0 in this order.
        env_args: what made the environment, stored as JSON; None for the set's own.
        masks: filter key to the numbers of its demonstrations.
        extra: for each demonstration further arrays by name (`group/name`), which readers of demonstrations
            leave alone.

    Raises:
        ValueError: demonstrations that differ, `extra` of another length, or a mask that names one that is
            not there.
        FileError: the file cannot be written.
    """
    whole = demos if isinstance(demos, DemonstrationSet) else DemonstrationSet(tuple(demos))
    masks = masks or {}
    for key, numbers in masks.items():
        if not numbers or any(not 0 <= number < len(whole) for number in numbers):
            raise ArgumentError(
                f"masks[{key!r}]: expected numbers in [0, {len(whole) - 1}], got {list(numbers)}"
            )
    if extra is not None and len(extra) != len(whole):
        raise ArgumentError(f"extra: expected {len(whole)} mappings, got {len(extra)}")
    arguments = json.dumps(dict(whole.env_args if env_args is None else env_args), indent=4)

    # Made in memory, since HDF5 crashes where a disk is full, and written as a whole.
    with h5py.File("demos", "w", driver="core", backing_store=False, libver=_FORMAT) as file:
        data = file.create_group("data")
        data.attrs["total"] = whole.num_steps
        data.attrs["env_args"] = arguments
        for number, demo in enumerate(whole):
            more = {} if extra is None else extra[number]
            _write_demo(data.create_group(f"demo_{number}"), demo, whole.has_rewards, more)
        seal_group(data)
        for key, numbers in masks.items():
            write_dataset(file, f"mask/{key}", [f"demo_{number}".encode() for number in numbers])
        file.flush()
        content = file.id.get_file_image()
    write_bytes(path, content, f"demonstrations {path}")


def _write_demo(
    group: h5py.Group, demo: Demonstration, has_rewards: bool, extra: Mapping[str, Array]
) -> None:
    """Write one episode; observations twice, before and after each step, as robomimic's loader wants them."""
    group.attrs["num_samples"] = len(demo)
    if demo.seed is not None:
        group.attrs["seed"] = demo.seed
    if demo.model_file is not None:
        group.attrs["model_file"] = demo.model_file
    if demo.recorded_success is not None:
        group.attrs["success"] = demo.recorded_success
    for key, array in demo.observations.items():
        image = array.ndim == 4
        name = f"{key}{IMAGE_SUFFIX}" if image else key
        stored = array.transpose(0, 2, 3, 1) if image else array
        write_dataset(group, f"obs/{name}", stored[:-1], by_entry=image)
        write_dataset(group, f"next_obs/{name}", stored[1:], by_entry=image)
    write_dataset(group, "actions", demo.actions)
    if has_rewards:
        write_dataset(group, "rewards", demo.rewards)
        write_dataset(group, "dones", (demo.terminated | demo.truncated).astype(np.int64))
        write_dataset(group, "terminated", demo.terminated)
        write_dataset(group, "truncated", demo.truncated)
    if demo.states is not None:
        write_dataset(group, "states", demo.states)
    for name, values in extra.items():
        write_dataset(group, name, values)
    seal_group(group)


def read_demonstrations(
    path: str | os.PathLike[str],
    *,
    keys: Sequence[str] | None = None,
    filter_key: str | None = None,
    max_demos: int | None = None,
    state_keys: Sequence[str] = (),
    proprio_keys: Sequence[str] = (),
    expected: ExpectedDemos | None = None,
    allow_mismatch: bool = False,
    clip_actions: bool = False,
    reward: RewardSource = "recorded",
    needs_rewards: bool = True,
) -> DemonstrationSet:
    """Read demonstrations in the order of their numbers.

    Files of other programs have no `terminated` and `truncated`: an episode then counts as terminated where
    its last reward is positive and as truncated otherwise. Without `next_obs` the observation after the last
    step is unknown: a terminated episode repeats its last one (nothing is bootstrapped from it), any other
    loses its last step. Actions beyond [-1, 1] by no more than rounding (`action_bounds.ROUNDING`) are
    clipped. What was changed or allowed is in the `remarks` of the result.

    Args:
        path: the HDF5 file, or a Minari data set: `minari:ID` or its folder (`minari_demonstrations`).
        keys: entries to read, named as in memory (`state`, `corner2`, ...); None for every vector and camera.
        filter_key: only the demonstrations of `mask/<filter_key>`; of a Minari data set the episodes whose
            metadata have this entry, and true.
        max_demos: only that many, the first.
        state_keys: low-dimensional entries of the file that, joined in this order, become `state`.
        proprio_keys: the same for `proprio`.
        expected: what they are for; None compares nothing.
        allow_mismatch: another environment than expected is a remark, no error; sizes must fit all the same.
        clip_actions: clip actions however far beyond [-1, 1].
        reward: `last` ignores recorded rewards and ends: 1 and terminated in every last step; `success` takes
            them from the success that a Minari data set records, which ends the demonstration.
        needs_rewards: refuse files without `rewards` or `dones`, which imitation alone can do without.

    Raises:
        ArgumentError: an unknown `reward`, or keys to join to an entry that is not read.
        DemonstrationError: naming file, demonstration and field.
    """
    expect(reward in get_args(RewardSource), "reward", "recorded, last or success", reward)
    joined = {"state": state_keys, "proprio": proprio_keys}
    for key, names in joined.items():
        is_read = keys is None or key in keys
        expect(is_read or not names, f"{key}_keys", f"none without {key} among keys", list(names))

    reading = Reading(
        expected or ExpectedDemos(),
        allow_mismatch=allow_mismatch,
        reward=reward,
        needs_rewards=needs_rewards,
        bounds=ActionBounds(clip_actions),
    )
    try:
        folder = find_minari(path)
        if folder is not None:
            return read_minari(folder, keys, filter_key, max_demos, joined, reading)
        expect(reward != "success", "reward", "recorded or last for a file without recorded success", reward)

        # A pipe or a device would be waited for.
        kind = kind_of(path)
        got = "none" if kind == "nothing" else kind
        expect(kind == "a regular file", "file", "a file", got)
        with h5py.File(path, "r") as file:
            return _read_file(file, keys, filter_key, max_demos, joined, reading)
    except UNREADABLE as error:
        raise DemonstrationError(
            f"{path}: file: expected a complete HDF5 file, got: {line(error)}"
        ) from error
    except (ValueError, TypeError) as error:
        raise DemonstrationError(f"{path}: {line(error)}") from error


def warn_without_success(demos: DemonstrationSet, path: object, say: Callable[[str], object]) -> None:
    """Warn when no demonstration succeeds: imitation and its proposals are worth what these show.

    Those without rewards are not judged.

    Args:
        demos: what was read.
        path: their file, as the user knows it.
        say: receives the warning.
    """
    if not demos.has_rewards or any(demo.success for demo in demos):
        return
    largest = max(float(np.abs(demo.rewards).max()) for demo in demos)
    why = "all rewards are zero" if largest == 0 else "none terminates with a positive reward"
    say(f"demonstrations {path}: none of {len(demos)} succeeds ({why})")


def _read_file(
    file: h5py.File,
    keys: Sequence[str] | None,
    filter_key: str | None,
    max_demos: int | None,
    joined: Mapping[str, Sequence[str]],
    reading: Reading,
) -> DemonstrationSet:
    """Read the chosen demonstrations of an open file."""
    data = open_group(file, "data")
    try:
        env_args = json.loads(data.attrs.get("env_args", "{}"))
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"data: env_args: expected JSON, got: {error}") from error
    if not isinstance(env_args, dict):
        raise ArgumentError(f"data: env_args: expected a JSON object, got {type(env_args).__name__}")

    # What is declared, then the checksums of that, then the values.
    names = demo_names(file, data, filter_key, max_demos)
    reading.compare(env_args)
    needs_rewards = reading.needs_rewards and not reading.last_is_reward
    layouts = plan_demos(data, names, keys, joined, reading.expected, needs_rewards=needs_rewards)
    are_recorded = all(layout.rewards is not None and layout.dones is not None for layout in layouts)
    reading.look_for_rewards(len(layouts), are_recorded=are_recorded)
    sealed = any(map(is_sealed, (data, layouts[0].group, layouts[0].actions)))
    with located("data"):
        check_group(data, sealed=sealed)
    for layout in layouts:
        with located(layout.name):
            check_group(layout.group, sealed=sealed)
    demos = []
    for layout in layouts:
        with located(layout.name):
            demos.append(_read_demo(layout, sealed, reading))
    remarks = (*reading.remarks, *reading.bounds.remarks())
    return DemonstrationSet(tuple(demos), env_args, reading.has_rewards, remarks)


def _read_demo(layout: DemoLayout, sealed: bool, reading: Reading) -> Demonstration:
    """Read one episode, whose declared shapes fit each other."""

    def values(dataset: h5py.Dataset) -> Array:
        with located(dataset.name.rpartition("/")[2]):
            return read_dataset(dataset, sealed=sealed)

    actions = reading.bounds(values(layout.actions))
    rewards, terminated, truncated = _rewards_and_ends(layout, values, reading)

    # Observations, and the one after the last step where it was recorded.
    with located("obs"):
        observations = {key: _observation(parts, values) for key, parts in layout.obs.items()}
    states = None if layout.states is None else values(layout.states)
    if layout.next_obs is not None:
        with located("next_obs"):
            after = {key: _observation(parts, values)[-1:] for key, parts in layout.next_obs.items()}
        observations = {key: np.concatenate([array, after[key]]) for key, array in observations.items()}
    elif terminated[-1]:
        observations = {key: np.concatenate([array, array[-1:]]) for key, array in observations.items()}
    else:
        if layout.steps == 1:
            raise ArgumentError("next_obs: expected it for an episode of one step without success, got none")
        actions, rewards, terminated = actions[:-1], rewards[:-1], terminated[:-1]
        truncated = truncated[1:]
        states = None if states is None else states[:-1]
    return Demonstration(
        observations=observations,
        actions=actions,
        rewards=rewards,
        terminated=terminated,
        truncated=truncated,
        states=states,
        seed=layout.seed,
        recorded_success=layout.success,
        model_file=layout.model_file,
    )


def _rewards_and_ends(
    layout: DemoLayout, values: Callable[[h5py.Dataset], Array], reading: Reading
) -> tuple[Array, Array, Array]:
    """Make rewards, terminated and truncated, `[T]` each: as recorded, or judged by the last reward."""
    last = np.arange(layout.steps) == layout.steps - 1
    if reading.last_is_reward:
        return last.astype(np.float32), last, ~last & last
    if layout.rewards is None or layout.dones is None or not reading.has_rewards:
        return np.zeros(layout.steps, np.float32), ~last & last, last
    rewards = values(layout.rewards)
    values(layout.dones)
    if layout.terminated is not None and layout.truncated is not None:
        return rewards, values(layout.terminated).astype(bool), values(layout.truncated).astype(bool)
    terminated = last & bool(rewards[-1] > 0)
    return rewards, terminated, last & ~terminated


def _observation(parts: Sequence[h5py.Dataset], values: Callable[[h5py.Dataset], Array]) -> Array:
    """Make one entry in memory: an image turned to CHW, or vectors joined along their features."""
    arrays = [values(part) for part in parts]
    if arrays[0].ndim == 4:
        return np.ascontiguousarray(arrays[0].transpose(0, 3, 1, 2))
    names = [part.name.rpartition("/")[2] for part in parts]
    return np.concatenate([check_vector(name, a, a.shape) for name, a in zip(names, arrays)], axis=1)
