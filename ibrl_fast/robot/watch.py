"""Whether an observation may be acted on: complete, of the right shape, finite, young, and moving."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from ibrl_fast.deploy import ObservationField
from ibrl_fast.deploy.contract import check_value
from ibrl_fast.errors import ArgumentError, expect
from ibrl_fast.robot.robot import Array, Observation


class SensorWatch:
    """Looks at one observation after the other.

    Args:
        fields: the sensors that the policy needs: shape, type and range of each.
        max_age: oldest reading that may be acted on, s: for all, or by name (`robot state` is its own
            state; names that are absent have no limit).
        max_same_frames: how many times in a row a camera may deliver the same image, to the last bit,
            with new time stamps (real cameras have noise); None: as often as it likes.
    """

    def __init__(
        self,
        fields: Mapping[str, ObservationField],
        max_age: float | Mapping[str, float],
        max_same_frames: int | None = None,
    ) -> None:
        self._fields = fields
        names = [*fields, "robot state"]
        self._max_age = max_age if isinstance(max_age, Mapping) else dict.fromkeys(names, max_age)
        for name, age in self._max_age.items():
            expect(name in names, "max_age", f"names among {', '.join(names)}", name)
            expect(age > 0.0, f"max_age[{name!r}]", "> 0 s", age)
        if max_same_frames is not None:
            expect(max_same_frames >= 1, "max_same_frames", ">= 1 or None", max_same_frames)
        self._max_same_frames = max_same_frames
        self._frames: dict[str, tuple[int, float, int]] = {}

    def reset(self) -> None:
        """Forget the frames of the last episode."""
        self._frames.clear()

    def check(self, observation: Observation, now: float) -> str | None:
        """Say why an observation must not be acted on at a time (s); None where it may."""
        state = observation.state
        if not np.isfinite([*state.position, *state.rotation, state.gripper_width]).all():
            return "robot state: not finite numbers"
        reasons = [
            self._check_age("robot state", observation.state.time, now),
            *(self._check_sensor(name, observation, now) for name in self._fields),
        ]
        return next(filter(None, reasons), None)

    def frame(self, observation: Observation) -> dict[str, Array]:
        """Return what the policy is given."""
        return {name: observation.sensors[name].value for name in self._fields}

    def _check_sensor(self, name: str, observation: Observation, now: float) -> str | None:
        field = self._fields[name]
        reading = observation.sensors.get(name)
        if reading is None:
            return f"{name}: no reading"
        try:
            check_value(name, reading.value, field.shape, field)
        except ArgumentError as error:
            return str(error)
        if (reason := self._check_age(name, reading.time, now)) is not None:
            return reason
        return self._check_same(name, reading.value, reading.time) if field.kind == "image" else None

    def _check_age(self, name: str, time: float, now: float) -> str | None:
        age, limit = now - time, self._max_age.get(name)
        # written so that a time stamp that is no number, or of another clock, is refused as well
        if limit is None or -limit <= age <= limit:
            return None
        return f"{name}: {1e3 * age:.0f} ms old, of {1e3 * limit:.0f} ms"

    def _check_same(self, name: str, image: Array, time: float) -> str | None:
        if self._max_same_frames is None:
            return None
        checksum = zlib.crc32(image.tobytes())
        before, stamp, count = self._frames.get(name, (None, time, 0))
        if stamp != time or before is None:
            count = count + 1 if checksum == before else 0
        self._frames[name] = (checksum, time, count)
        return f"{name}: the same image {count + 1} times" if count > self._max_same_frames else None
