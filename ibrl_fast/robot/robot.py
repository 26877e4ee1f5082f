"""What a robot is to the client: sensors with time stamps, commands in metres and radians, and a way to stop.

Frames and units: positions in metres and rotations as unit quaternions (x, y, z, w), both in the robot's base
frame; times in seconds of the clock that the robot was given (`ibrl_fast.robot.clock`), never of the day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ibrl_fast.deploy import ObservationField
from ibrl_fast.errors import UserError

Array = npt.NDArray[Any]


class RobotError(UserError, RuntimeError):
    """A robot that does not answer, refuses, or cannot do what was asked."""


class BoundaryError(RobotError):
    """A command that a robot refuses since it would leave the safety boundary; the robot holds."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What one sensor measured."""

    value: Array
    """Vector `[features]` float32, or image `[channels, height, width]` uint8."""
    time: float
    """When it was measured, s; an estimate must rather be too early than too late."""


@dataclass(frozen=True, eq=False)
class RobotState:
    """Where the end effector is, as measured, and what the gripper was told."""

    position: Array
    """`[3]` float64, m."""
    rotation: Array
    """`[4]` float64, unit quaternion (x, y, z, w)."""
    gripper_width: float
    """Distance between the fingers, m."""
    gripper_target: float
    """The width that was commanded last, m."""
    time: float
    """When it was measured, s."""


@dataclass(frozen=True, eq=False)
class Observation:
    """All sensors, each with the time at which it measured, and the robot's own state."""

    sensors: Mapping[str, Reading]
    """By name; those that a policy's contract names are given to it."""
    state: RobotState
    """What safety and success are judged by."""


@dataclass(frozen=True, eq=False)
class Command:
    """One step of motion, relative to the pose that the robot measures when the command arrives."""

    translation: Array = field(default_factory=lambda: np.zeros(3))
    """`[3]` float64, m."""
    rotation: Array = field(default_factory=lambda: np.zeros(3))
    """`[3]` float64, rotation vector in the base frame, rad: new = exp(rotation) * old."""
    gripper: float | None = None
    """Width to go to, m; None leaves the gripper as it is."""


@dataclass(frozen=True)
class RobotInfo:
    """What does not change while a robot is connected."""

    name: str
    """For people, logs and files."""
    sensors: Mapping[str, ObservationField]
    """Shape and type of every sensor's readings (`stack` is the policy's matter, and 1)."""
    max_gripper_width: float
    """Distance between the fingers when wide open, m."""


@runtime_checkable
class Robot(Protocol):
    """Hardware, simulation, or a connection to either; one file implements it (docs/robot.md).

    `connect`, `observe`, `command`, `reset` and `close` are called one at a time; `hold` and `stop` may come
    from any thread at any time and must not wait for another call to end. All but `connect` and `reset`
    return within milliseconds: what is slow (cameras, grippers) runs in threads of its own. Every method
    raises a `RobotError` where the robot cannot do it.
    """

    def connect(self) -> RobotInfo:
        """Make contact; nothing moves."""

    def observe(self) -> Observation:
        """Return the newest reading of every sensor; waits for none."""

    def command(self, command: Command) -> None:
        """Start a motion and return; a newer command replaces it."""

    def hold(self) -> None:
        """Stay where it is, with the gripper as it is, ready for the next command."""

    def stop(self) -> None:
        """Stop at once, by the robot's own brakes or its like; only `reset` makes it move again."""

    def reset(self) -> None:
        """Clear a stop and go to where episodes start; returns once it is there."""

    def close(self) -> None:
        """Stop and let go; calling it twice does no harm."""
