"""What a run expects of demonstrations: compared with what their file records, before any value is read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ibrl_fast.errors import ArgumentError

OWN_ENTRY = "ibrl_fast"
"""Entry of `env_args` for what this package records beside what others make the environment from."""

RewardSource = Literal["recorded", "last", "success"]
"""Rewards and ends as the file has them; 1 and terminated in every demonstration's last step; or 1 and
terminated in the first step that is recorded as a success, and 0 before it."""


@dataclass(frozen=True)
class ExpectedDemos:
    """One side of the comparison, the run's; what is None or empty is not compared.

    Attributes:
        shapes: per key in memory, one frame: `[features]` or `[channels, height, width]`.
        parts: per vector the entries that a file without it joins it of, in order.
        action_dim: numbers in an action.
        task: full name, `suite/task`.
        aliases: what else the task is called, without its suite.
        action_repeat: control steps per agent step.
        control_period: of one control step, seconds.
        cameras: those that are observed.
        image_size: height and width of their images, pixels.
        reward: `sparse` or `dense`.
        joined: per vector, the entries of the environment that it joins, in their order.
    """

    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    action_dim: int | None = None
    task: str | None = None
    aliases: tuple[str, ...] = ()
    action_repeat: int | None = None
    control_period: float | None = None
    cameras: tuple[str, ...] = ()
    image_size: int | None = None
    reward: str | None = None
    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def check_environment(self, env_args: Mapping[str, Any]) -> None:
        """Compare the environment that a file records with the run's; what it lacks is not compared.

        Args:
            env_args: `env_name` and `env_kwargs`, by this package's names or robosuite's.

        Raises:
            ArgumentError: naming everything that differs, of both sides.
        """
        pairs = list(self._differences(env_args))
        if pairs:
            expected, got = (", ".join(side) for side in zip(*pairs))
            raise ArgumentError(f"env_args: expected {expected} as in the run, got {got}")

    def check_sizes(self, shapes: Mapping[str, Sequence[int]], action_dim: int) -> None:
        """Compare the sizes of one demonstration's actions and observations with the run's.

        Args:
            shapes: per key in memory, one frame.
            action_dim: numbers in an action.

        Raises:
            ArgumentError: naming the first key that differs.
        """
        if self.action_dim is not None and action_dim != self.action_dim:
            raise ArgumentError(f"actions: expected {self.action_dim} numbers, got {action_dim}")
        for key, shape in shapes.items():
            if key in self.shapes and tuple(shape) != tuple(self.shapes[key]):
                expected, got = (_size(value) for value in (self.shapes[key], shape))
                raise ArgumentError(f"obs: {key}: expected {expected}, got {got}")

    def _differences(self, env_args: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Give what the run has and what the file records, for everything that differs."""
        name = env_args.get("env_name")
        if self.task is not None and isinstance(name, str) and name:
            # other programs record a task without its suite, or by a name of their own
            suite, _, short = self.task.rpartition("/" if "/" in self.task else ":")
            recorded_suite, _, recorded_short = name.rpartition("/" if "/" in name else ":")
            named_alike = recorded_suite in ("", suite) and recorded_short in (short, *self.aliases)
            if name != self.task and not named_alike:
                yield f"task {self.task}", f"task {name}"

        recorded, own = env_args.get("env_kwargs"), env_args.get(OWN_ENTRY)
        kwargs: dict[str, Any] = dict(recorded) if isinstance(recorded, Mapping) else {}
        kwargs |= own if isinstance(own, Mapping) else {}
        repeat = _number(kwargs.get("action_repeat"))
        if self.action_repeat is not None and repeat is not None and repeat != self.action_repeat:
            yield f"action_repeat {self.action_repeat}", f"action_repeat {repeat:g}"
        period = _control_period(kwargs)
        wanted = self.control_period
        # a rate in the file and a period in the run are the same number but for rounding
        if wanted is not None and period is not None and not math.isclose(period, wanted, rel_tol=1e-6):
            yield f"control_period {wanted:g} s", f"control_period {period:g} s"
        reward = kwargs.get("reward")
        if self.reward is not None and isinstance(reward, str) and reward != self.reward:
            yield f"reward {self.reward}", f"reward {reward}"
        for vector, names in self.joined.items():
            own_names, theirs = ",".join(names), _list(kwargs.get(f"{vector}_keys"))
            if theirs and theirs != list(names):
                yield f"{vector}_keys {own_names}", f"{vector}_keys {','.join(map(str, theirs))}"
        yield from self._camera_differences(kwargs)

    def _camera_differences(self, kwargs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Compare the cameras that the run looks through; a file may have more of them."""
        if not self.cameras:
            return
        names = _list(kwargs.get("cameras", kwargs.get("camera_names")))
        recorded = [name for name in names if isinstance(name, str)]
        if recorded and not set(self.cameras) <= set(recorded):
            yield f"cameras {', '.join(self.cameras)}", f"cameras {', '.join(recorded)}"

        # one size for all cameras, or a height and a width for each; those that the run looks through count
        if self.image_size is None:
            return
        square = kwargs.get("image_size")
        sides = [_list(kwargs.get(f"camera_{side}", square)) for side in ("heights", "widths")]
        heights, widths = (side * len(recorded) if len(side) == 1 and recorded else side for side in sides)
        shared = set(recorded) & set(self.cameras)
        for index, sizes in enumerate(zip(heights, widths)):
            if shared and index < len(recorded) and recorded[index] not in shared:
                continue
            height, width = map(_number, sizes)
            if height is not None and width is not None and {height, width} != {self.image_size}:
                yield f"image_size {self.image_size}", f"image_size {height:g} x {width:g}"
                return


def _control_period(kwargs: Mapping[str, Any]) -> float | None:
    """Read the seconds of a control step, recorded as such or as robosuite's rate in Hz."""
    period = _number(kwargs.get("control_period"))
    if period is None:
        rate = _number(kwargs.get("control_freq"))
        period = None if rate is None else 1.0 / rate
    return period


def _number(value: Any) -> float | None:
    """Return a finite number above 0 from JSON; None for anything else, which then counts as not recorded."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _list(value: Any) -> list[Any]:
    """Return JSON's list, or the one value that stands for it; nothing for null."""
    if isinstance(value, list | tuple):
        return list(value)
    return [] if value is None else [value]


def _size(shape: Sequence[int]) -> str:
    return f"{shape[0]} numbers" if len(shape) == 1 else f"images {list(shape)}"
