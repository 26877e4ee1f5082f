"""Unit quaternions (x, y, z, w) and rotation vectors (axis times angle, rad), in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[Any] | Sequence[float]
Float64Array = npt.NDArray[np.float64]


def multiply(left: Vector, right: Vector) -> Float64Array:
    """Return the quaternion `[4]` that rotates by `right`, then by `left`."""
    a, b, c, d = left
    e, f, g, h = right
    return np.array(
        [
            d * e + a * h + b * g - c * f,
            d * f - a * g + b * h + c * e,
            d * g + a * f - b * e + c * h,
            d * h - a * e - b * f - c * g,
        ]
    )


def inverse(quaternion: Vector) -> Float64Array:
    """Return the opposite rotation of a unit quaternion."""
    x, y, z, w = quaternion
    return np.array([-x, -y, -z, w])


def from_vector(vector: Vector) -> Float64Array:
    """Return the unit quaternion `[4]` of a rotation vector `[3]`."""
    values = np.asarray(vector, dtype=np.float64)
    half = 0.5 * math.hypot(*values)
    # sin(half) / angle, whose limit at 0 is a half
    factor = 0.5 if half < 1e-9 else 0.5 * math.sin(half) / half
    return np.array([*(factor * values), math.cos(half)])


def to_vector(quaternion: Vector) -> Float64Array:
    """Return the rotation vector `[3]`, of an angle up to pi, of a unit quaternion."""
    x, y, z, w = (float(value) for value in quaternion)
    if w < 0.0:
        x, y, z, w = -x, -y, -z, -w
    length = math.hypot(x, y, z)
    # angle / sin(half), whose limit at 0 is 2
    factor = 2.0 if length < 1e-12 else 2.0 * math.atan2(length, w) / length
    return factor * np.array([x, y, z])


def angle_between(one: Vector, other: Vector) -> float:
    """Return the angle of the rotation from one unit quaternion to another, rad, in [0, pi]."""
    return math.hypot(*to_vector(multiply(other, inverse(one))))


def mean_rotation(quaternions: Float64Array) -> Float64Array:
    """Return the unit quaternion `[4]` nearest to all of `[N, 4]` (Markley et al. 2007: an eigenvector)."""
    _, vectors = np.linalg.eigh(quaternions.T @ quaternions)
    mean: Float64Array = vectors[:, -1]
    return mean if mean[3] >= 0.0 else -mean
