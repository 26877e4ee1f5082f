"""Where a robot may be and how fast it may move: one small file that people read and edit.

The file is JSON with the names of `SafetyLimits`; regions say their `kind`, `box` or `cylinder`.
Everything in it is checked when it is read, and a name that is not known is refused.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass
from typing import Any, Literal

from ibrl_fast.errors import ArgumentError, FileError, expect
from ibrl_fast.fields import check_fields
from ibrl_fast.files import read_json, write_bytes
from ibrl_fast.robot.regions import Box, Cylinder, Region, check_range

MAX_ANGLE = 3.0
"""Largest angle in the box of rotations, rad: a rotation vector jumps at pi."""

_KINDS: dict[str, type[Box] | type[Cylinder]] = {"box": Box, "cylinder": Cylinder}


@dataclass(frozen=True)
class SafetyLimits:
    """What every command is held to, on the client and again on the server."""

    position_low: tuple[float, ...]
    """`[3]`, smallest position of the end effector, m."""
    position_high: tuple[float, ...]
    """`[3]`, largest position, m."""
    rotation_reference: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0)
    """`[4]`, unit quaternion (x, y, z, w) from which rotations are counted."""
    rotation_low: tuple[float, ...] = (-0.5, -0.5, -0.5)
    """`[3]`, smallest rotation vector from the reference to the end effector, base frame, rad."""
    rotation_high: tuple[float, ...] = (0.5, 0.5, 0.5)
    """`[3]`, largest rotation vector, rad."""
    gripper_low: float = 0.0
    """Smallest width of the gripper, m."""
    gripper_high: float = 0.085
    """Largest width of the gripper, m."""
    max_step_translation: float = 0.03
    """Longest way of one command, m."""
    max_step_rotation: float = 0.15
    """Largest angle of one command, rad."""
    max_speed: float = 0.25
    """Longest way of all commands within any second, m."""
    max_rotation_speed: float = 1.2
    """Largest sum of angles of all commands within any second, rad."""
    forbidden: tuple[Region, ...] = ()
    """Regions that the end effector must not enter, nor cross on its way."""
    clearance: float = 0.01
    """How far commands keep away from forbidden regions, m."""
    tolerance: float = 0.005
    """How far the measured position may be outside the box before the episode ends, m: the arm overshoots."""
    rotation_tolerance: float = 0.05
    """The same for the rotation vector, rad."""
    on_boundary: Literal["stop", "clip"] = "stop"
    """A command that would leave the box or enter a region: `stop` ends the episode with reward 0, as in the
    paper; `clip` shortens the command and goes on. A robot that is outside ends the episode either way."""
    on_motion: Literal["clip", "stop"] = "clip"
    """A command that is too long, too fast or too wide: `clip` shortens it, `stop` ends the episode."""

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            if isinstance(value := getattr(self, entry.name), list):
                object.__setattr__(self, entry.name, tuple(value))
        check_fields(self)
        check_range("position", self.position_low, self.position_high, 3)
        check_range("rotation", self.rotation_low, self.rotation_high, 3)
        corner = [max(abs(a), abs(b)) for a, b in zip(self.rotation_low, self.rotation_high)]
        expect(
            math.hypot(*corner) <= MAX_ANGLE,
            "rotation_high",
            f"a box of rotations whose corners are within {MAX_ANGLE} rad of the reference",
            f"{math.hypot(*corner):.3f} rad",
        )
        reference = self.rotation_reference
        expect(len(reference) == 4, "rotation_reference", "4 numbers (x, y, z, w)", list(reference))
        length = math.hypot(*reference)
        expect(abs(length - 1.0) < 1e-3, "rotation_reference", "a unit quaternion", f"length {length:.4f}")
        object.__setattr__(self, "rotation_reference", tuple(value / length for value in reference))
        expect(
            self.gripper_low <= self.gripper_high, "gripper_high", "at least gripper_low", self.gripper_high
        )
        for name in ("max_step_translation", "max_step_rotation", "max_speed", "max_rotation_speed"):
            expect(getattr(self, name) > 0.0, name, "> 0", getattr(self, name))
        for name in ("clearance", "tolerance", "rotation_tolerance"):
            expect(getattr(self, name) >= 0.0, name, ">= 0", getattr(self, name))


def write_limits(path: str | os.PathLike[str], limits: SafetyLimits) -> None:
    """Write limits as JSON, one entry a line; errors as of `files.replacing`."""
    values = dataclasses.asdict(limits)
    values["forbidden"] = [
        {"kind": type(region).__name__.lower(), **dataclasses.asdict(region)} for region in limits.forbidden
    ]
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in values.items()]
    write_bytes(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode(), f"limits {path}")


def read_limits(path: str | os.PathLike[str]) -> SafetyLimits:
    """Read what `write_limits` wrote, edited or not.

    Raises:
        FileError: no such file, or no JSON object.
        ArgumentError: a name that is not known or missing, or a value that cannot be.
    """
    content = read_json(path, f"limits {path}")
    try:
        return limits_from(content)
    except (ArgumentError, TypeError) as error:
        raise FileError(f"limits {path}: {error}") from error


def limits_from(content: dict[str, Any]) -> SafetyLimits:
    """Make limits of plain values, as they are in the file; errors as of `read_limits`."""
    _check_names("limits", content, SafetyLimits)
    regions = content.get("forbidden", [])
    expect(isinstance(regions, list), "forbidden", "a list of regions", regions)
    return SafetyLimits(
        **{
            **{key: _tuples(value) for key, value in content.items()},
            "forbidden": tuple(map(_region, regions)),
        }
    )


def _region(values: Any) -> Region:
    expect(isinstance(values, dict), "forbidden", "an object with a kind", values)
    kind = values.get("kind")
    expect(isinstance(kind, str) and kind in _KINDS, "forbidden.kind", " or ".join(_KINDS), kind)
    rest = {key: _tuples(value) for key, value in values.items() if key != "kind"}
    _check_names(kind, rest, _KINDS[kind])
    return _KINDS[kind](**rest)


def _check_names(what: str, values: dict[str, Any], cls: Any) -> None:
    names = {entry.name: entry.default is dataclasses.MISSING for entry in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(names))
    missing = sorted(name for name, needed in names.items() if needed and name not in values)
    expect(not unknown, what, f"names among {', '.join(names)}", f"unknown {', '.join(unknown)}")
    expect(not missing, what, f"{', '.join(missing)}", "none")


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
