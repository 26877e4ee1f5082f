"""Whatever fails, the robot ends in a defined safe state and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from network_proxy import NetworkProxy
from robot_helpers import FREE, LIMITS, Choose, WrittenPolicy, at_each_tick, forward, lift, make_client

import ibrl_fast
from ibrl_fast.robot import Episode, MockRobot, MonotonicClock, RobotClient, RobotError, write_limits
from ibrl_fast.robot.mock import HOME
from ibrl_fast.robot.recording import EpisodeRecorder, read_log, recorded_files
from ibrl_fast.robot.remote import RemoteRobot
from ibrl_fast.robot.server import RobotServer
from ibrl_fast.robot.success import LiftSuccess

zmq = pytest.importorskip("zmq", reason="needs the extra ibrl_fast[robot]")
pytest.importorskip("msgpack", reason="needs the extra ibrl_fast[robot]")

ROOT = Path(ibrl_fast.__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def crawl(obs: object) -> list[float]:
    """Go along x by 0.3 mm, so that an episode stays inside for long."""
    return [0.01, 0.0, 0.0, -1.0]


def remote_client(
    address: str, choose: Choose = crawl, folder: Path | None = None, **options: object
) -> tuple[RobotClient, WrittenPolicy]:
    """A client of a server that waits a second for what is late; the clock is the real one."""
    policy = WrittenPolicy(choose)
    remote = RemoteRobot(address, timeout=1.0, patience=10.0)
    recorder = None if folder is None else EpisodeRecorder(folder)
    options = {"max_steps": 100_000, "max_age": 5.0, "max_holds": 2, "recorder": recorder, **options}
    return RobotClient(remote, policy, 20.0, safety=LIMITS, **options), policy


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def proxy(robot: MockRobot, lines: list[str]) -> Iterator[NetworkProxy]:
    """The way to a server."""
    with RobotServer(
        robot, LIMITS, address=FREE, hold_after=3.0, stop_after=5.0, max_command_age=2.5, say=lines.append
    ) as server:
        proxy = NetworkProxy(int(server.address.rpartition(":")[2]))
        yield proxy
        proxy.close()


def eventually_stopped(robot: MockRobot) -> None:
    clock = MonotonicClock()
    end = clock.now() + 60.0
    while not robot.is_stopped:
        assert clock.now() < end
        clock.sleep(0.01)


def test_a_network_that_is_cut(
    robot: MockRobot, proxy: NetworkProxy, lines: list[str], tmp_path: Path
) -> None:
    client, policy = remote_client(proxy.address, folder=tmp_path, max_age=1.5)

    def cut(obs: object) -> list[float]:
        proxy.is_cut = policy.steps == 5
        return crawl(obs)

    policy._choose = cut
    client.arm()
    episode = client.run_episode()
    # the client gives up, and the watchdog stops the robot behind the cut
    assert episode.outcome == "fault" and not client.is_armed
    eventually_stopped(robot)
    assert "watchdog: no valid command in time, stop" in lines
    position = robot.observe().state.position.copy()
    commands = robot.commands
    # what waited on the line arrives when it is back, and moves nothing
    proxy.is_cut = False
    MonotonicClock().sleep(0.3)
    assert robot.commands == commands
    np.testing.assert_array_equal(robot.observe().state.position, position)
    # nothing is lost
    assert len(read_log(recorded_files(tmp_path)[0]).source) == len(episode.steps) >= 4
    # armed again, it goes on
    policy._choose = crawl
    client._max_steps = 3
    client.arm()
    assert client.run_episode().outcome == "time limit"
    client.close()


def test_a_network_that_is_slow(robot: MockRobot, proxy: NetworkProxy) -> None:
    client, policy = remote_client(proxy.address, max_age=0.2, max_holds=3)

    def slow(obs: object) -> list[float]:
        proxy.delay = 0.3 if policy.steps >= 3 else 0.0
        return crawl(obs)

    policy._choose = slow
    client.arm()
    episode = client.run_episode()
    # answers come, yet all too late to act on: it holds, then stops
    assert episode.outcome == "fault" and episode.held
    assert not client.is_armed and episode.missed > 0
    eventually_stopped(robot)
    proxy.delay = 0.0
    client.close()


SERVER = """
import sys
from ibrl_fast.cli import main
main(["robot", "serve", "--limits", sys.argv[1], "--address", "tcp://127.0.0.1:0"])
"""


@pytest.fixture
def server_process(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command `robot serve` in a process of its own, and its address."""
    write_limits(tmp_path / "limits.json", LIMITS)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path / "limits.json")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
    )
    line = process.stdout.readline()
    assert line.startswith("listening on tcp://127.0.0.1:"), line
    yield process, line.split()[-1]
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_server_that_is_killed(server_process: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    process, address = server_process
    client, policy = remote_client(address, folder=tmp_path / "day", max_age=1.5)

    def kill(obs: object) -> list[float]:
        if policy.steps == 5:
            process.kill()
        return crawl(obs)

    policy._choose = kill
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "fault" and not client.is_armed and client.stop_reason
    assert len(read_log(recorded_files(tmp_path / "day")[0]).source) == len(episode.steps) >= 4
    with pytest.raises(RobotError):
        client.run_episode()
    client.close()


def test_a_server_ends_in_good_order_with_sigterm(
    server_process: tuple[subprocess.Popen[str], str],
) -> None:
    process, address = server_process
    client, _ = remote_client(address, max_steps=3)
    client.arm()
    assert client.run_episode().outcome == "time limit"
    client.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143


CLIENT = """
import sys
sys.path.append(sys.argv[2])
from test_faults import crawl, remote_client
client, _ = remote_client(sys.argv[1])
client.arm()
print("armed", flush=True)
client.run_episode()
"""


def test_a_client_that_is_killed(robot: MockRobot, lines: list[str]) -> None:
    with RobotServer(
        robot, LIMITS, address=FREE, hold_after=2.0, stop_after=3.0, max_command_age=2.5, say=lines.append
    ) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, server.address, str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=ENVIRONMENT,
        )
        assert process.stdout.readline() == "armed\n"
        clock = MonotonicClock()
        end = clock.now() + 60.0
        while robot.commands < 5 and clock.now() < end:
            clock.sleep(0.01)
        assert robot.commands >= 5
        process.kill()
        process.wait()
        process.stdout.close()
        eventually_stopped(robot)
        assert [line for line in lines if "watchdog" in line] == [
            "watchdog: no valid command in time, hold",
            "watchdog: no valid command in time, stop",
        ]


def test_a_gripper_that_is_stuck_is_no_success() -> None:
    client, robot, _, _ = make_client(lift, success=LiftSuccess(), max_steps=60, seed=2)
    robot.faults.gripper_stuck = True
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "time limit" and episode.reward == 0.0 and client.is_armed


def test_a_policy_that_asks_to_leave_the_box(tmp_path: Path) -> None:
    limits = replace(LIMITS, position_high=(HOME[0] + 0.04, 0.2, 0.5))
    client, robot, _, _ = make_client(
        lambda obs: [1.0, 0.0, 0.0, -1.0], safety=limits, recorder=EpisodeRecorder(tmp_path)
    )
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "boundary" and robot.observe().state.position[0] <= HOME[0] + 0.04
    log = read_log(recorded_files(tmp_path)[0])
    assert log.facts["outcome"] == "boundary" and log.facts["interventions"][-1][0][0] == "position"


def test_lost_frames_hold_and_go_on() -> None:
    from robot_helpers import CAMERA

    client, robot, _, _ = make_client(fields=CAMERA, max_age=0.15, max_holds=5, max_steps=60)
    robot.faults.drop_rate = 0.3
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "time limit" and episode.held["wrist"] > 0
    assert robot.commands == len(episode.steps) == 60 - episode.held["wrist"]


def test_the_wall_clock_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    def run(jump: float) -> list[str]:
        client, robot, _, _ = make_client(lift, max_steps=30, seed=1)
        now = [1e9]

        def change(tick: int) -> None:
            now[0] += jump * (-1) ** tick

        at_each_tick(robot, change)
        with monkeypatch.context() as stepped:
            stepped.setattr(time, "time", lambda: now[0])
            client.arm()
            episode: Episode = client.run_episode()
        return [episode.outcome, *(repr((step.action, step.times)) for step in episode.steps)]

    assert run(0.0) == run(86_400.0) == run(-3.6e6)


def test_random_messages_while_an_episode_runs(robot: MockRobot) -> None:
    with RobotServer(
        robot, LIMITS, address=FREE, hold_after=20.0, stop_after=40.0, max_command_age=30.0
    ) as server:
        end = threading.Event()

        def attack() -> None:
            random = np.random.default_rng(0)
            context = zmq.Context()
            line = context.socket(zmq.DEALER)
            line.set(zmq.LINGER, 0)
            line.connect(server.address)
            while not end.wait(0.001):
                line.send(random.bytes(int(random.integers(0, 400))))
            context.destroy(linger=0)

        attacker = threading.Thread(target=attack)
        attacker.start()
        client, _ = remote_client(server.address, max_steps=20, max_age=30.0, max_holds=20)
        client.arm()
        episode = client.run_episode()
        end.set()
        attacker.join()
        client.close()
        assert episode.outcome == "time limit" and robot.commands == len(
            [step for step in episode.steps if step.held is None]
        )
        assert server.malformed > 10


def test_a_short_loop_through_every_fault_of_the_mock_ends_safely() -> None:
    for seed in range(40):
        random = np.random.default_rng(seed)
        client, robot, policy, clock = make_client(forward, seed=seed, max_steps=30, max_holds=2)
        faults = robot.faults

        def change(tick: int, random=random, faults=faults, policy=policy) -> None:
            faults.stale = {"state"} if random.random() < 0.1 else set()
            faults.nan = {"state"} if random.random() < 0.05 else set()
            faults.observe_latency = 0.12 if random.random() < 0.1 else 0.0
            faults.command_latency = 0.3 if random.random() < 0.05 else 0.0
            faults.is_disconnected = bool(random.random() < 0.02)
            policy.seconds = 0.2 if random.random() < 0.1 else 0.0

        at_each_tick(robot, change)
        client.arm()
        faults.is_disconnected = False
        episode = client.run_episode()
        assert episode.outcome in ("time limit", "fault")
        assert (episode.outcome == "fault") == robot.is_stopped == (not client.is_armed)
        faults.is_disconnected, faults.observe_latency = False, 0.0
        faults.stale, faults.nan = set(), set()
        before = MockRobot.observe(robot).state.position.copy()
        clock.sleep(0.5)
        np.testing.assert_array_equal(MockRobot.observe(robot).state.position, before)
