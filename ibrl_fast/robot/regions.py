"""Regions of space that the end effector must not enter, and where a straight path would."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.errors import expect
from ibrl_fast.fields import check_fields

Array = npt.NDArray[Any]
Interval = tuple[float, float]
_EVERYWHERE: Interval = (-math.inf, math.inf)


@dataclass(frozen=True)
class Box:
    """A box along the axes of the base frame, its faces included."""

    low: tuple[float, ...]
    """`[3]`, its smallest corner, m."""
    high: tuple[float, ...]
    """`[3]`, its largest corner, m."""

    def __post_init__(self) -> None:
        check_fields(self, "box.")
        check_range("box", self.low, self.high, 3)

    def grown(self, margin: float) -> Box:
        """Return a box that reaches further on every side, m."""
        return Box(tuple(v - margin for v in self.low), tuple(v + margin for v in self.high))

    def entry(self, start: Array, way: Array) -> float | None:
        """Return the first share in [0, 1] of the way at which a path is inside; None: it stays out."""
        inside: Interval | None = _EVERYWHERE
        for axis in range(3):
            inside = _both(inside, _slab(start[axis], way[axis], self.low[axis], self.high[axis]))
        return _first(inside)


@dataclass(frozen=True)
class Cylinder:
    """An upright cylinder (axis along z), its surface included; the space under a hook, for one."""

    center: tuple[float, ...]
    """`[2]`, x and y of its axis, m."""
    radius: float
    """m."""
    low: float
    """Its lower end, z in m."""
    high: float
    """Its upper end, z in m."""

    def __post_init__(self) -> None:
        check_fields(self, "cylinder.")
        expect(len(self.center) == 2, "cylinder.center", "2 numbers", list(self.center))
        expect(self.radius > 0.0, "cylinder.radius", "> 0 m", self.radius)
        check_range("cylinder", (*self.center, self.low), (*self.center, self.high), 3)

    def grown(self, margin: float) -> Cylinder:
        """Return a cylinder that reaches further on every side, m."""
        return Cylinder(self.center, self.radius + margin, self.low - margin, self.high + margin)

    def entry(self, start: Array, way: Array) -> float | None:
        """Return the first share in [0, 1] of the way at which a path is inside; None: it stays out."""
        # |offset + share * way|^2 <= radius^2 in the plane
        x, y = float(start[0]) - self.center[0], float(start[1]) - self.center[1]
        a = float(way[0] ** 2 + way[1] ** 2)
        half_b = float(x * way[0] + y * way[1])
        c = x * x + y * y - self.radius**2
        if a == 0.0:
            disc: Interval | None = _EVERYWHERE if c <= 0.0 else None
        else:
            root = half_b * half_b - a * c
            disc = None if root < 0.0 else _roots(-half_b / a, math.sqrt(root) / a)
        return _first(_both(disc, _slab(start[2], way[2], self.low, self.high)))


Region = Box | Cylinder


def contains(region: Region, point: Array) -> bool:
    """Say whether a point `[3]` is inside."""
    return region.entry(point, np.zeros(3)) is not None


def check_range(name: str, low: tuple[float, ...], high: tuple[float, ...], size: int) -> None:
    """Raise `ArgumentError` unless both have `size` numbers and none of `low` is above `high`."""
    expect(len(low) == size, f"{name}.low", f"{size} numbers", list(low))
    expect(len(high) == size, f"{name}.high", f"{size} numbers", list(high))
    expect(all(a <= b for a, b in zip(low, high)), f"{name}.high", f"at least low {list(low)}", list(high))


def _slab(start: float, way: float, low: float, high: float) -> Interval | None:
    """Return the shares of a way at which one coordinate lies in [low, high]."""
    if way == 0.0:
        return _EVERYWHERE if low <= start <= high else None
    # a tiny way overflows to infinity, which compares as it should
    with np.errstate(over="ignore"):
        one, other = (low - start) / way, (high - start) / way
    return (min(one, other), max(one, other))


def _roots(middle: float, half: float) -> Interval:
    return (middle - half, middle + half)


def _both(one: Interval | None, other: Interval | None) -> Interval | None:
    if one is None or other is None:
        return None
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return (low, high) if low <= high else None


def _first(inside: Interval | None) -> float | None:
    if inside is None or inside[1] < 0.0 or inside[0] > 1.0:
        return None
    return max(0.0, inside[0])
