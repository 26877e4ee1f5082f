"""How a scripted expert moves the hand: towards a pose, with the unevenness of a person at a joystick."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

POSITION_UNIT = 0.05
"""Metres of one unit of an action's first three entries."""
ROTATION_UNIT = 0.5
"""Radians of one unit of its next three."""

# error times gain, in units of the action, is what is asked for
_GAIN = 1.6
_NOISE_MEMORY = 0.8
_POSITION_NOISE, _ROTATION_NOISE = 0.05, 0.02
_PAUSE_RATE, _PAUSE_STEPS = 0.012, (2, 8)


@dataclass(frozen=True)
class Target:
    """Where the hand is to go, pointing straight down."""

    position: Vector
    """Of the point between the fingers, [3] (m)."""
    yaw: float
    """Of the hand's x axis about the vertical, full turns counted (rad)."""
    closed: bool
    """Whether the fingers are to close."""
    speed: float = 1.0
    """Largest entry of the action's translation."""


class Motion:
    """Actions towards targets: a pace of its own, smooth noise, now and then a pause.

    Args:
        random: source of all that is uneven.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._pace = random.uniform(0.7, 1.0)
        self._phase, self._period = random.uniform(0.0, 2 * math.pi), random.uniform(15.0, 40.0)
        self._noise = np.zeros(6)
        self._pause_left = 0
        self._steps = 0

    def act(self, target: Target, position: Vector, rotation: Vector, yaw: float) -> npt.NDArray[np.float32]:
        """Return an action float32 [7].

        Args:
            target: where to.
            position: of the point between the fingers, [3] (m).
            rotation: of the hand, matrix [3, 3].
            yaw: of the hand, full turns counted, as in the target (rad).
        """
        self._steps += 1
        action = np.zeros(7)
        action[6] = 1.0 if target.closed else -1.0
        if self._is_pausing():
            return action.astype(np.float32)

        # the pace rises and falls; near the target the move slows down by itself
        swing = 0.85 + 0.15 * math.sin(self._phase + 2 * math.pi * self._steps / self._period)
        move = (target.position - position) * (_GAIN / POSITION_UNIT)
        largest = float(np.abs(move).max())
        limit = target.speed * self._pace * swing
        action[:3] = move * min(1.0, limit / max(largest, 1e-9))
        # a far yaw is approached on the side on which it lies
        nearer = yaw + min(max(target.yaw - yaw, -1.0), 1.0)
        turn = rotation_between(rotation, downwards(nearer)) * (_GAIN / ROTATION_UNIT)
        action[3:6] = np.clip(turn, -0.6, 0.6)

        # a hand that moves fast is less exact
        scale = np.repeat([_POSITION_NOISE, _ROTATION_NOISE], 3) * (0.3 + min(largest, limit))
        fresh = math.sqrt(1 - _NOISE_MEMORY**2) * self._random.standard_normal(6)
        self._noise = _NOISE_MEMORY * self._noise + fresh
        action[:6] += scale * self._noise
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def _is_pausing(self) -> bool:
        if self._pause_left == 0 and self._random.random() < _PAUSE_RATE:
            self._pause_left = int(self._random.integers(*_PAUSE_STEPS))
        self._pause_left = max(0, self._pause_left - 1)
        return self._pause_left > 0


def downwards(yaw: float) -> Vector:
    """Return the rotation matrix [3, 3] of a hand that points down, its x axis at `yaw` (rad)."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]])


def rotation_between(current: Vector, wanted: Vector) -> Vector:
    """Return the rotation vector [3] (rad) that turns one rotation matrix into another."""
    difference = wanted @ current.T
    axis = np.array(
        [
            difference[2, 1] - difference[1, 2],
            difference[0, 2] - difference[2, 0],
            difference[1, 0] - difference[0, 1],
        ]
    )
    sine = 0.5 * float(np.sqrt(axis @ axis))
    angle = math.atan2(sine, 0.5 * (float(np.trace(difference)) - 1.0))
    return axis * (0.5 * angle / sine) if sine > 1e-9 else np.zeros(3)


def rotation_matrix(quaternion: Vector) -> Vector:
    """Return the rotation matrix [3, 3] of a unit quaternion x, y, z, w."""
    x, y, z, w = (float(value) for value in quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
