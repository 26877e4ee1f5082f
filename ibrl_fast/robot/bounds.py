"""Safety limits from demonstrations: the range of what they did, and a margin (paper Sec. XI.C)."""

from __future__ import annotations

import itertools
import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.data.demonstrations import read_demonstrations
from ibrl_fast.errors import ArgumentError, expect
from ibrl_fast.robot.limits import MAX_ANGLE, SafetyLimits
from ibrl_fast.robot.rotations import angle_between, inverse, mean_rotation, multiply, to_vector

Array = npt.NDArray[Any]

POSITION_KEY, ROTATION_KEY = "eef_pos", "eef_quat"
"""Names of position and rotation in the files that `recording` writes."""


def learn_limits(
    path: str | os.PathLike[str],
    *,
    position_key: str = POSITION_KEY,
    rotation_key: str | None = ROTATION_KEY,
    position_margin: float = 0.03,
    rotation_margin: float = 0.15,
    motion_factor: float = 1.5,
    rate_hz: float = 10.0,
) -> SafetyLimits:
    """Return the limits that demonstrations keep to, and a margin more.

    Args:
        path: demonstrations, robomimic-format HDF5.
        position_key: observation `[3]`, m.
        rotation_key: observation `[4]`, unit quaternion (x, y, z, w); None: rotations are free up to the
            margin around no rotation.
        position_margin: added on every side of the box, m.
        rotation_margin: the same for rotation vectors, rad.
        motion_factor: limits of motion are the largest of the demonstrations times this.
        rate_hz: steps per second of the demonstrations.

    Raises:
        DemonstrationError: the file, or an observation that is not there.
        ArgumentError: sizes, margins or rotations that cannot be.
    """
    for name, value in (("position_margin", position_margin), ("rotation_margin", rotation_margin)):
        expect(0.0 <= value < math.inf, name, ">= 0", value)
    for name, value in (("motion_factor", motion_factor), ("rate_hz", rate_hz)):
        expect(0.0 < value < math.inf, name, "> 0", value)
    keys = [position_key] if rotation_key is None else [position_key, rotation_key]
    demos = read_demonstrations(path, keys=keys, needs_rewards=False)
    positions = [_column(demo.observations[position_key], position_key, 3) for demo in demos]

    # position: range and largest motion
    ways = [np.linalg.norm(np.diff(values, axis=0), axis=1) for values in positions]
    low, high = np.concatenate(positions).min(0), np.concatenate(positions).max(0)
    found: dict[str, Any] = {
        "position_low": _numbers(low - position_margin),
        "position_high": _numbers(high + position_margin),
        **_motion("translation", "max_speed", ways, motion_factor, rate_hz),
    }

    # rotation: the same about the mean
    if rotation_key is None:
        margin = (rotation_margin,) * 3
        return SafetyLimits(**found, rotation_low=tuple(-value for value in margin), rotation_high=margin)
    turns = [_unit(_column(demo.observations[rotation_key], rotation_key, 4), rotation_key) for demo in demos]
    reference = mean_rotation(np.concatenate(turns))
    vectors = np.array([to_vector(multiply(q, inverse(reference))) for q in np.concatenate(turns)])
    angles = [np.array([angle_between(a, b) for a, b in itertools.pairwise(values)]) for values in turns]
    low, high = vectors.min(0) - rotation_margin, vectors.max(0) + rotation_margin
    corner = math.hypot(*np.maximum(np.abs(low), np.abs(high)))
    expect(
        corner <= MAX_ANGLE,
        rotation_key,
        f"rotations that with their margin stay within {MAX_ANGLE} rad of their mean",
        f"{corner:.2f} rad",
    )
    return SafetyLimits(
        **found,
        rotation_reference=_numbers(reference, 9),
        rotation_low=_numbers(low),
        rotation_high=_numbers(high),
        **_motion("rotation", "max_rotation_speed", angles, motion_factor, rate_hz),
    )


def _motion(kind: str, speed: str, steps: list[Array], factor: float, rate_hz: float) -> dict[str, Any]:
    """Return limits of one step and of one second, from steps `[T]` of every demonstration."""
    window = max(1, round(rate_hz))
    longest = max(float(values.max()) for values in steps)
    fastest = max(float(np.convolve(values, np.ones(window)).max()) for values in steps)
    if longest <= 0.0:
        return {}
    return {f"max_step_{kind}": round(factor * longest, 6), speed: round(factor * fastest, 6)}


def _column(values: Array, key: str, size: int) -> Array:
    if values.ndim != 2 or values.shape[1] != size:
        raise ArgumentError(f"{key}: expected [steps, {size}], got {list(values.shape)}")
    return values.astype(np.float64)


def _unit(values: Array, key: str) -> Array:
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    if np.abs(lengths - 1.0).max() > 1e-2:
        raise ArgumentError(f"{key}: expected unit quaternions, got lengths down to {lengths.min():.3f}")
    return values / lengths


def _numbers(values: Array, digits: int = 5) -> tuple[float, ...]:
    return tuple(round(float(value), digits) for value in values)
