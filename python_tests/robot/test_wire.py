"""Messages there and back, and every kind of message that is none."""

from __future__ import annotations

import numpy as np
import pytest

from ibrl_fast.robot import ManualClock, MockRobot
from ibrl_fast.robot.wire import (
    MAX_REQUEST,
    WireError,
    check_request,
    info_from_plain,
    info_to_plain,
    observation_from_plain,
    observation_to_plain,
    pack,
    unpack,
)

msgpack = pytest.importorskip("msgpack", reason="needs the extra ibrl_fast[robot]")


def test_observations_travel_bit_for_bit() -> None:
    robot = MockRobot(ManualClock())
    info = robot.connect()
    assert info_from_plain(unpack(pack({"info": info_to_plain(info)}), MAX_REQUEST)["info"]) == info
    seen = robot.observe()
    message = unpack(pack({"observation": observation_to_plain(seen)}), 1 << 20)
    there = observation_from_plain(message["observation"], info, shift=5.0)
    for name, reading in seen.sensors.items():
        np.testing.assert_array_equal(there.sensors[name].value, reading.value)
        assert there.sensors[name].value.dtype == reading.value.dtype
        assert there.sensors[name].time == reading.time + 5.0
    np.testing.assert_array_equal(there.state.position, seen.state.position)
    assert there.state.time == seen.state.time + 5.0


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("dtype", "float64"),
        ("dtype", "object"),
        ("shape", [13]),
        ("data", b"123"),
        ("data", None),
        ("time", "x"),
    ],
)
def test_observations_of_another_shape_are_refused(change: str, value: object) -> None:
    robot = MockRobot(ManualClock())
    info, plain = robot.connect(), observation_to_plain(robot.observe())
    plain["sensors"]["state"][change] = value
    with pytest.raises(WireError):
        observation_from_plain(plain, info, 0.0)
    for broken in (None, {}, {"sensors": {}}, {"sensors": {}, "state": {"position": [1, 2]}}, 7):
        with pytest.raises(WireError):
            observation_from_plain(broken, info, 0.0)
        with pytest.raises(WireError):
            info_from_plain(broken)


def test_messages_that_are_none() -> None:
    whole = pack({"id": 1, "type": "observe", "session": bytes(16)})
    check_request(unpack(whole, MAX_REQUEST))
    with pytest.raises(WireError, match="at most"):
        unpack(whole + bytes(MAX_REQUEST), MAX_REQUEST)
    for data in (
        b"",
        whole[:-1],
        whole + b"\0",
        msgpack.packb([1, 2]),
        msgpack.packb({"v": 2, "id": 1}),
        msgpack.packb({"v": True}),
        msgpack.packb({"id": 1}),
        msgpack.packb({1: 2, "v": 1}),
        msgpack.packb({"v": 1, "x": msgpack.ExtType(4, b"1")}),
        msgpack.packb({"v": 1, "x": msgpack.Timestamp(1)}),
        b"\x81\xa1v" * 2000,  # a map in a map in a map
        b"\x91" * 4000,
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million entries
        b"\xc6\xff\xff\xff\xff",
        b"\x82\xa1v\x01\xa1x\xdc\xff\xff" + bytes(100),
        b"\x82\xa1v\x01\xa1x\xa2\xff\xfe",  # text that is no UTF-8
    ):
        with pytest.raises(WireError):
            unpack(data, MAX_REQUEST)


def test_random_and_damaged_bytes_are_refused_or_right() -> None:
    random = np.random.default_rng(0)
    whole = pack({"id": 1, "type": "observe", "session": bytes(16)})
    refused = 0
    for trial in range(5000):
        if trial % 2:
            data = random.bytes(int(random.integers(0, 200)))
        else:
            changed = bytearray(whole)
            for _ in range(int(random.integers(1, 4))):
                changed[random.integers(len(changed))] = random.integers(256)
            data = bytes(changed)
        try:
            check_request(unpack(data, MAX_REQUEST))
        except WireError:
            refused += 1
    assert refused > 3000
