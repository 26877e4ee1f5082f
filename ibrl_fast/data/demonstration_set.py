"""Demonstrations in memory: episodes that are checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch

from ibrl_fast.data.checks import check_action, check_flag, check_image, check_vector, to_numpy
from ibrl_fast.data.observation_space import ObsSpec
from ibrl_fast.errors import ArgumentError

Array = npt.NDArray[Any]


class DemonstrationError(ArgumentError):
    """A demonstration file that cannot be used; the message names file, demonstration and field."""


@dataclass(frozen=True, eq=False)
class Demonstration:
    """One episode of T >= 1 steps.

    Attributes:
        observations: per key, the final observation included: vectors `[T + 1, features]` float32 or images
            `[T + 1, channels, height, width]` uint8.
        actions: `[T, action_dim]` float32, in [-1, 1].
        rewards: `[T]` float32.
        terminated: `[T]` bool, the task ended; true at the last step or nowhere.
        truncated: `[T]` bool, the recording ended without the task; true at the last step or nowhere.
        states: `[T, state_size]` float64, simulator states before each step, or None.
        seed: the seed with which the episode began, or None.
        recorded_success: whether the task was done, where that is recorded beside the rewards; or None.
        model_file: the simulator's model of the episode as text (robomimic's name), or None.

    Raises:
        TypeError, ValueError: naming the field.
    """

    observations: Mapping[str, Array]
    actions: Array
    rewards: Array
    terminated: Array
    truncated: Array
    states: Array | None = None
    seed: int | None = None
    recorded_success: bool | None = None
    model_file: str | None = None

    def __post_init__(self) -> None:
        # The actions tell the length.
        actions = to_numpy(self.actions)
        if actions.ndim != 2 or actions.shape[0] < 1 or actions.shape[1] < 1:
            raise ArgumentError(
                f"actions: expected [steps, action_dim] with at least 1 step, got {list(actions.shape)}"
            )
        steps = actions.shape[0]
        checked: dict[str, Any] = {
            "actions": check_action("actions", actions, actions.shape),
            "rewards": check_vector("rewards", self.rewards, (steps,)),
            "terminated": check_flag("terminated", self.terminated, (steps,)),
            "truncated": check_flag("truncated", self.truncated, (steps,)),
        }
        for name in ("terminated", "truncated"):
            if checked[name][:-1].any():
                raise ArgumentError(f"{name}: expected true at the last step only, got it earlier")

        # Observations: one more than there are steps.
        if not self.observations:
            raise ArgumentError("observations: expected at least one entry, got none")
        observations: dict[str, Array] = {}
        for key, value in self.observations.items():
            array = to_numpy(value)
            name = f"observations[{key!r}]"
            if array.ndim == 4:
                observations[key] = check_image(name, array, (steps + 1, *array.shape[1:]))
            elif array.ndim == 2:
                observations[key] = check_vector(name, array, (steps + 1, *array.shape[1:]))
            else:
                raise ArgumentError(
                    f"{name}: expected vectors [steps + 1, features] or images, got {list(array.shape)}"
                )
        checked["observations"] = observations

        # Simulator states, as they were recorded.
        if self.states is not None:
            states = np.asarray(self.states, dtype=np.float64)
            if states.ndim != 2 or states.shape[0] != steps:
                raise ArgumentError(f"states: expected [{steps}, state_size], got {list(states.shape)}")
            checked["states"] = states
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """Return the number of steps, T."""
        return int(self.actions.shape[0])

    @property
    def success(self) -> bool:
        """Whether the task was done: as recorded, or the episode terminated with a positive reward."""
        if self.recorded_success is not None:
            return self.recorded_success
        return bool(self.terminated[-1] and self.rewards[-1] > 0)

    @property
    def observation_space(self) -> dict[str, ObsSpec]:
        """Spec of every observation entry."""
        return {
            key: ObsSpec(array.shape[1:], torch.uint8 if array.dtype == np.uint8 else torch.float32)
            for key, array in self.observations.items()
        }


@dataclass(frozen=True, eq=False)
class DemonstrationSet(Sequence[Demonstration]):
    """Demonstrations of one task, alike in their observations and actions.

    Attributes:
        demos: at least one.
        env_args: what made the environment (robomimic: `env_name`, `type`, `env_kwargs`).
        has_rewards: whether rewards and ends were recorded; without, they are 0 and never terminated.
        remarks: what a reader changed or allowed, one line each.

    Raises:
        ValueError: naming the first demonstration that differs.
    """

    demos: tuple[Demonstration, ...]
    env_args: Mapping[str, Any] = field(default_factory=dict)
    has_rewards: bool = True
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "demos", tuple(self.demos))
        if not self.demos:
            raise ArgumentError("demos: expected at least one demonstration, got none")
        spaces = [demo.observation_space for demo in self.demos]
        check_alike(spaces, [int(demo.actions.shape[1]) for demo in self.demos])

    def __len__(self) -> int:
        """Return the number of demonstrations."""
        return len(self.demos)

    @overload
    def __getitem__(self, number: int) -> Demonstration: ...

    @overload
    def __getitem__(self, number: slice) -> tuple[Demonstration, ...]: ...

    def __getitem__(self, number: int | slice) -> Demonstration | tuple[Demonstration, ...]:
        """Return one demonstration, or several."""
        return self.demos[number]

    @property
    def num_steps(self) -> int:
        """Steps of all demonstrations together."""
        return sum(len(demo) for demo in self.demos)

    @property
    def action_dim(self) -> int:
        """Numbers in an action."""
        return int(self.demos[0].actions.shape[1])

    @property
    def observation_space(self) -> dict[str, ObsSpec]:
        """Spec of every observation entry."""
        return self.demos[0].observation_space


def check_alike(spaces: Sequence[Mapping[str, ObsSpec]], action_dims: Sequence[int]) -> None:
    """Compare what every demonstration observes, and the numbers in its actions, with the first.

    Raises:
        ArgumentError: naming the first that differs.
    """
    for number, (space, action_dim) in enumerate(zip(spaces, action_dims)):
        if space != spaces[0]:
            raise ArgumentError(
                f"demos[{number}].observations: expected {_describe(spaces[0])} "
                f"as in the first, got {_describe(space)}"
            )
        if action_dim != action_dims[0]:
            raise ArgumentError(
                f"demos[{number}].actions: expected {action_dims[0]} numbers as in the first, "
                f"got {action_dim}"
            )


def _describe(space: Mapping[str, ObsSpec]) -> dict[str, list[int]]:
    return {key: list(spec.shape) for key, spec in sorted(space.items())}
