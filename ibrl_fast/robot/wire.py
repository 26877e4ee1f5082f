"""Messages between client and server: msgpack maps of plain values, checked before anything believes them.

A request is `{v, id, type, ...}` with the fields of `REQUESTS`; a reply `{v, id, ok, ...}`, with `code` and
`error` where `ok` is false. Versions must be equal. Sizes are looked at before a byte is parsed, then types,
shapes and ranges of every field; a field too many is refused as well as one too few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ibrl_fast.deploy import ObservationField
from ibrl_fast.robot.extras import need
from ibrl_fast.robot.robot import Observation, Reading, RobotError, RobotInfo, RobotState

VERSION = 1
EXTRA = "ibrl_fast[robot]"
MAX_REQUEST = 1 << 14
"""Largest request, bytes."""
MAX_REPLY = 1 << 26
"""Largest reply, bytes: several cameras."""
SESSION_BYTES = 16
MAX_TEXT = 256

_MAX_ENTRIES = 64
_DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "uint8": np.dtype("u1")}


class WireError(RobotError):
    """A message that is none."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _is_vector(size: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) == size and all(map(_is_number, value))


def _is_session(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) == SESSION_BYTES


_SESSION: dict[str, Callable[[Any], bool]] = {"session": _is_session}
REQUESTS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "hello": {
        "name": _is_text,
        "token": lambda value: value is None or _is_text(value),
        "control": lambda value: isinstance(value, bool),
    },
    "observe": _SESSION,
    "command": {
        **_SESSION,
        "number": _is_count,
        "basis": _is_number,
        "translation": _is_vector(3),
        "rotation": _is_vector(3),
        "gripper": lambda value: value is None or _is_number(value),
    },
    "hold": _SESSION,
    "stop": _SESSION,
    "reset": _SESSION,
    "subscribe": {**_SESSION, "rate_hz": _is_number},
    "bye": _SESSION,
}
"""By type, the fields besides `v`, `id` and `type`, and what each must be."""


def pack(message: Mapping[str, Any]) -> bytes:
    """Return a message as bytes; the version is added."""
    return bytes(need("msgpack", EXTRA).packb({"v": VERSION, **message}, use_bin_type=True))


def unpack(data: bytes, largest: int) -> dict[str, Any]:
    """Return a message with its version taken out; nothing in it is checked yet but size and depth.

    Raises:
        WireError: too large, no msgpack map, or another version.
    """
    if len(data) > largest:
        raise WireError(f"message: expected at most {largest} bytes, got {len(data)}")
    msgpack = need("msgpack", EXTRA)
    try:
        message = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            ext_hook=_refuse_extension,
            max_str_len=1 << 12,
            max_bin_len=largest,
            max_array_len=_MAX_ENTRIES,
            max_map_len=_MAX_ENTRIES,
            max_ext_len=0,
        )
    except (msgpack.UnpackException, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise WireError(f"message: expected msgpack, got {type(error).__name__}") from error
    if not isinstance(message, dict):
        raise WireError(f"message: expected a map, got {type(message).__name__}")
    version = message.pop("v", None)
    if version != VERSION or isinstance(version, bool):
        raise WireError(f"message: expected version {VERSION}, got {version!r}"[:MAX_TEXT])
    return message


def check_request(message: Mapping[str, Any]) -> None:
    """Raise `WireError` unless a message is a request, whole and with nothing else in it."""
    kind = message.get("type")
    if not isinstance(kind, str) or kind not in REQUESTS:
        raise WireError(f"type: expected one of {', '.join(REQUESTS)}, got {kind!r}"[:MAX_TEXT])
    fields = {"id": _is_count, "type": _is_text, **REQUESTS[kind]}
    if message.keys() != fields.keys():
        raise WireError(f"{kind}: expected the fields {', '.join(fields)}, got {sorted(message)}"[:MAX_TEXT])
    for name, is_right in fields.items():
        if not is_right(message[name]):
            raise WireError(f"{kind}.{name}: expected another value, got {message[name]!r}"[:MAX_TEXT])


def info_to_plain(info: RobotInfo) -> dict[str, Any]:
    """Return what a robot is as plain values."""
    sensors = {
        name: {"shape": list(field.shape), "dtype": field.dtype, "low": field.low, "high": field.high}
        for name, field in info.sensors.items()
    }
    return {"name": info.name, "sensors": sensors, "max_gripper_width": info.max_gripper_width}


def info_from_plain(values: Any) -> RobotInfo:
    """Return what `info_to_plain` was given; `WireError` for anything else."""
    try:
        sensors = {str(name): ObservationField(**field) for name, field in values["sensors"].items()}
        return RobotInfo(str(values["name"]), sensors, float(values["max_gripper_width"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WireError(f"info: expected a robot's, got {error!r}"[:MAX_TEXT]) from error


def observation_to_plain(observation: Observation) -> dict[str, Any]:
    """Return an observation as plain values; times stay those of the robot's clock."""
    sensors = {
        name: {
            "dtype": str(reading.value.dtype),
            "shape": list(reading.value.shape),
            "data": np.ascontiguousarray(reading.value, _DTYPES[str(reading.value.dtype)]).tobytes(),
            "time": reading.time,
        }
        for name, reading in observation.sensors.items()
    }
    return {"sensors": sensors, "state": state_to_plain(observation.state)}


def observation_from_plain(values: Any, info: RobotInfo, shift: float) -> Observation:
    """Return an observation with its times moved to another clock.

    Args:
        values: what `observation_to_plain` returned.
        info: the sensors that there are.
        shift: what is added to its times, s.

    Raises:
        WireError: another thing, or another shape or type than the sensor has.
    """
    try:
        sensors = {}
        for name, field in info.sensors.items():
            entry = values["sensors"].get(name)
            if entry is None:
                continue
            if entry["dtype"] != field.dtype or entry["shape"] != list(field.shape):
                raise ValueError(f"{name}: {entry['dtype']} {entry['shape']}")
            array = np.frombuffer(entry["data"], _DTYPES[field.dtype]).reshape(field.shape)
            sensors[name] = Reading(array, float(entry["time"]) + shift)
        return Observation(sensors, state_from_plain(values["state"], shift))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WireError(f"observation: expected the robot's sensors, got {error!r}"[:MAX_TEXT]) from error


def state_to_plain(state: RobotState) -> dict[str, Any]:
    """Return a state as plain values."""
    return {
        "position": [float(value) for value in state.position],
        "rotation": [float(value) for value in state.rotation],
        "width": float(state.gripper_width),
        "target": float(state.gripper_target),
        "time": float(state.time),
    }


def state_from_plain(values: Any, shift: float) -> RobotState:
    """Return what `state_to_plain` was given, at another clock; `WireError` for anything else."""
    try:
        position = np.array(values["position"], dtype=np.float64).reshape(3)
        rotation = np.array(values["rotation"], dtype=np.float64).reshape(4)
        width, target = float(values["width"]), float(values["target"])
        return RobotState(position, rotation, width, target, float(values["time"]) + shift)
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"state: expected a robot's, got {error!r}"[:MAX_TEXT]) from error


def _refuse_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"extension {code}")
