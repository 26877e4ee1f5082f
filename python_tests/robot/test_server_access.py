"""Who may talk to a server, and where it listens."""

from __future__ import annotations

from pathlib import Path

import pytest
from robot_helpers import FREE, LIMITS, PATIENT

from ibrl_fast.errors import ArgumentError
from ibrl_fast.robot import MockRobot, RobotError
from ibrl_fast.robot.remote import ClientKeys, RemoteRobot
from ibrl_fast.robot.server import CurveKeys, RobotServer, is_local, read_token

zmq = pytest.importorskip("zmq", reason="needs the extra ibrl_fast[robot]")
pytest.importorskip("msgpack", reason="needs the extra ibrl_fast[robot]")

TOKEN = "correct horse battery"


def test_tokens(robot: MockRobot) -> None:
    with RobotServer(robot, LIMITS, address=FREE, token=TOKEN) as server:
        for token in (None, "another one entirely"):
            remote = RemoteRobot(server.address, token=token, **PATIENT)
            with pytest.raises(RobotError, match="token"):
                remote.connect()
            remote.close()
        remote = RemoteRobot(server.address, token=TOKEN, **PATIENT)
        remote.connect()
        remote.close()


def test_curve_keys(robot: MockRobot, tmp_path: Path) -> None:
    auth = pytest.importorskip("zmq.auth")
    if not zmq.has("curve"):
        pytest.skip("this ZeroMQ has no CURVE")
    for name in ("server", "client", "stranger"):
        auth.create_certificates(tmp_path, name)
    (tmp_path / "clients").mkdir()
    (tmp_path / "client.key").rename(tmp_path / "clients" / "client.key")
    curve = CurveKeys(tmp_path / "server.key_secret", tmp_path / "clients")
    with RobotServer(robot, LIMITS, address=FREE, curve=curve) as server:
        known = ClientKeys(tmp_path / "client.key_secret", tmp_path / "server.key")
        remote = RemoteRobot(server.address, keys=known, **PATIENT)
        remote.connect()
        remote.reset()
        remote.close()
        stranger = ClientKeys(tmp_path / "stranger.key_secret", tmp_path / "server.key")
        for keys in (stranger, None):
            remote = RemoteRobot(server.address, keys=keys, timeout=0.5, patience=0.5)
            with pytest.raises(RobotError, match="got none in time"):
                remote.connect()
            remote.close()
    with pytest.raises(ArgumentError, match="curve"):
        missing = CurveKeys(tmp_path / "none", tmp_path / "clients")
        RobotServer(robot, LIMITS, address=FREE, curve=missing).run()
    with pytest.raises(ArgumentError, match=r"curve\.secret: expected a secret key"):
        RobotServer(robot, LIMITS, address=FREE, curve=CurveKeys(tmp_path / "server.key", tmp_path)).run()


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("tcp://127.0.0.1:5757", True),
        ("tcp://127.1.2.3:1", True),
        ("tcp://[::1]:5757", True),
        ("tcp://localhost:5757", True),
        ("ipc:///run/robot", True),
        ("tcp://0.0.0.0:5757", False),
        ("tcp://*:5757", False),
        ("tcp://192.168.1.2:5757", False),
        ("tcp://robot:5757", False),
        ("tcp://eth0:5757", False),
    ],
)
def test_beyond_this_machine_it_wants_keys_or_a_token(robot: MockRobot, address: str, local: bool) -> None:
    assert is_local(address) == local
    if not local:
        with pytest.raises(ArgumentError, match="a token or CURVE keys beyond this machine"):
            RobotServer(robot, LIMITS, address=address)
        RobotServer(robot, LIMITS, address=address, token=TOKEN)


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:5757", "udp://127.0.0.1:1", "tcp://127.0.0.1", "tcp://:1"]
)
def test_addresses_that_are_none(robot: MockRobot, address: str) -> None:
    with pytest.raises(ArgumentError, match="address: expected tcp"):
        RobotServer(robot, LIMITS, address=address)


def test_tokens_from_files(tmp_path: Path, robot: MockRobot) -> None:
    file = tmp_path / "token"
    with pytest.raises(ArgumentError, match="token: expected a file"):
        read_token(file)
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    with pytest.raises(ArgumentError, match="chmod 600"):
        read_token(file)
    file.chmod(0o600)
    assert read_token(file) == TOKEN
    with pytest.raises(ArgumentError, match="token: expected at least 16"):
        RobotServer(robot, LIMITS, token="short")


def test_an_address_that_is_taken(server: RobotServer, robot: MockRobot) -> None:
    with pytest.raises(RobotError, match="Address already in use"):
        RobotServer(robot, LIMITS, address=server.address).run()
