"""Client and server through sockets: the client cannot tell the difference. Nothing here is timed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from robot_helpers import FREE, LIMITS, PATIENT, WrittenPolicy, lift

from ibrl_fast.errors import ArgumentError
from ibrl_fast.robot import Command, MockRobot, MonotonicClock, Robot, RobotClient, RobotError, RobotState
from ibrl_fast.robot.mock import HOME
from ibrl_fast.robot.remote import RemoteRobot
from ibrl_fast.robot.robot import BoundaryError
from ibrl_fast.robot.server import RobotServer

zmq = pytest.importorskip("zmq", reason="needs the extra ibrl_fast[robot]")
pytest.importorskip("msgpack", reason="needs the extra ibrl_fast[robot]")


@pytest.fixture
def remote(server: RobotServer) -> Iterator[RemoteRobot]:
    remote = RemoteRobot(server.address, **PATIENT)
    yield remote
    remote.close()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that must come, half a minute at most."""
    clock = MonotonicClock()
    end = clock.now() + 30.0
    while not condition():
        assert clock.now() < end
        clock.sleep(0.005)


def test_it_is_the_same_robot(remote: RemoteRobot, robot: MockRobot) -> None:
    assert isinstance(remote, Robot)
    info = remote.connect()
    assert info == robot.connect()
    remote.reset()
    remote.command(Command(np.array([0.02, 0.0, 0.0]), gripper=0.03))
    eventually(lambda: abs(remote.observe().state.position[0] - HOME[0] - 0.02) < 1e-9)
    eventually(lambda: abs(remote.observe().state.gripper_width - 0.03) < 1e-9)
    seen = remote.observe()
    assert seen.sensors.keys() == info.sensors.keys()
    assert seen.sensors["wrist"].value.shape == (3, 96, 96)
    assert seen.state.gripper_target == 0.03
    remote.hold()
    remote.stop()
    assert robot.is_stopped
    with pytest.raises(RobotError, match="stopped it"):
        remote.command(Command())
    remote.reset()
    remote.command(Command())


def test_readings_never_seem_younger_than_they_are(remote: RemoteRobot, robot: MockRobot) -> None:
    remote.connect()
    for _ in range(20):
        before = MonotonicClock().now()
        seen = remote.observe()
        # measured after the question was sent, and dated to before that
        assert seen.state.time <= robot._last["state"].time
        assert seen.state.time <= MonotonicClock().now()
        assert seen.state.time > before - 1.0


def test_a_whole_episode(server: RobotServer, remote: RemoteRobot, robot: MockRobot) -> None:
    policy = WrittenPolicy(lift)
    client = RobotClient(
        remote,
        policy,
        50.0,
        safety=LIMITS,
        success=lambda seen: seen[-1].sensors["state"].value[11] > 0.1,
        max_steps=2000,
        max_age=20.0,
        max_holds=1000,
    )
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "success" and robot.block[2] > 0.1
    assert client.run_episode().outcome == "success"  # the server was reset in between
    client.close()
    assert server.malformed == 0


def test_a_second_client_is_told_so_and_may_watch_and_stop(server: RobotServer, robot: MockRobot) -> None:
    first, second = RemoteRobot(server.address, **PATIENT), RemoteRobot(server.address, **PATIENT)
    first.connect()
    first.reset()
    with pytest.raises(RobotError, match="nobody in control, got 'client'"):
        second.connect()
    second.close()
    watcher = RemoteRobot(server.address, control=False, name="watcher", **PATIENT)
    watcher.connect()
    np.testing.assert_array_equal(watcher.observe().state.position, HOME)
    with pytest.raises(RobotError, match="client in control"):
        watcher.command(Command())
    watcher.stop()
    assert robot.is_stopped
    first.close()
    third = RemoteRobot(server.address, **PATIENT)
    third.connect()
    third.close()
    watcher.close()


def test_the_server_refuses_what_would_leave_its_box(remote: RemoteRobot, robot: MockRobot) -> None:
    remote.connect()
    remote.reset()
    with pytest.raises(BoundaryError, match="position: target"):
        for _ in range(20):
            remote.command(Command(np.array([0.0, 0.03, 0.0])))
            MonotonicClock().sleep(0.15)
    assert robot.observe().state.position[1] <= LIMITS.position_high[1]


def test_the_watchdog_of_a_silent_client(robot: MockRobot) -> None:
    lines: list[str] = []
    with RobotServer(robot, LIMITS, address=FREE, control_timeout=0.5, say=lines.append) as server:
        remote = RemoteRobot(server.address, **PATIENT)
        remote.connect()
        remote.reset()
        remote.observe()
        remote.command(Command(np.array([0.01, 0.0, 0.0])))
        eventually(lambda: robot.is_stopped)
        assert [line for line in lines if "watchdog" in line] == [
            "watchdog: no valid command in time, hold",
            "watchdog: no valid command in time, stop",
        ]
        with pytest.raises(RobotError, match="watchdog stopped it"):
            remote.observe(), remote.command(Command())
        # by now another may take control; what the first sends later moves nothing
        other = RemoteRobot(server.address, name="other", **PATIENT)
        eventually(lambda: connects(other))
        other.reset()
        with pytest.raises(RobotError, match="session"):
            remote.command(Command())
        remote.close()
        other.close()


def connects(remote: RemoteRobot) -> bool:
    try:
        remote.connect()
    except RobotError:
        return False
    return True


def test_control_that_was_lost_by_silence_comes_back_with_a_reset(robot: MockRobot) -> None:
    with RobotServer(robot, LIMITS, address=FREE, control_timeout=0.05, stop_after=90.0) as server:
        remote = RemoteRobot(server.address, **PATIENT)
        remote.connect()
        remote.reset()
        other = RemoteRobot(server.address, name="other", **PATIENT)
        eventually(lambda: connects(other))
        other.close()
        remote.reset()
        remote.observe()
        remote.command(Command())
        remote.close()


def test_the_state_stream(remote: RemoteRobot) -> None:
    remote.connect()
    remote.subscribe(200.0)
    states: list[RobotState] = []

    def are_enough() -> bool:
        states.extend(remote.states(0.1))
        return len(states) > 5

    eventually(are_enough)
    times = [state.time for state in states]
    assert times == sorted(times) and len(set(times)) == len(times)
    remote.observe()  # questions and states share the line
    remote.subscribe(0.0)


def test_oversized_and_random_messages_change_nothing(
    server: RobotServer, remote: RemoteRobot, robot: MockRobot
) -> None:
    remote.connect()
    remote.reset()
    random = np.random.default_rng(0)
    context = zmq.Context()
    attacker: Any = context.socket(zmq.DEALER)
    attacker.linger = 0
    attacker.connect(server.address)
    for _ in range(300):
        attacker.send(random.bytes(int(random.integers(0, 300))))
    attacker.send_multipart([b"1", b"2", b"3"])
    eventually(lambda: server.malformed >= 301)
    attacker.send(bytes(1 << 20))  # closes the attacker's connection
    # bytes that are not even ZeroMQ's
    host, port = server.address.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port))) as plain:
        plain.sendall(random.bytes(5000))
    remote.observe()
    remote.command(Command(np.array([0.01, 0.0, 0.0])))
    assert robot.commands == 1
    context.destroy(linger=0)


def test_without_a_server(tmp_path: Path) -> None:
    remote = RemoteRobot(f"ipc://{tmp_path}/none", timeout=0.05, patience=0.1)
    with pytest.raises(RobotError, match="connected"):
        remote.observe()
    with pytest.raises(RobotError, match="expected an answer to hello, got none in time"):
        remote.connect()
    remote.close()
    with pytest.raises(ArgumentError, match="timeout"):
        RemoteRobot(timeout=0.0)


def test_stop_does_not_wait_for_a_reset(server: RobotServer, remote: RemoteRobot, robot: MockRobot) -> None:
    begun, go_on = threading.Event(), threading.Event()
    original = robot.reset

    def slow() -> None:
        begun.set()
        go_on.wait(20.0)
        original()

    robot.reset = slow  # type: ignore[method-assign]
    remote.connect()
    errors: list[RobotError] = []

    def wait_for_reset() -> None:
        try:
            remote.reset()
        except RobotError as error:
            errors.append(error)

    thread = threading.Thread(target=wait_for_reset)
    thread.start()
    begun.wait(20.0)
    remote.stop()
    assert robot.is_stopped
    go_on.set()
    thread.join()
    # the stop outlives the reset
    assert len(errors) == 1 and "expected no stop meanwhile" in str(errors[0])
    eventually(lambda: robot.is_stopped)
