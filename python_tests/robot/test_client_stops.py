"""What stops the robot at once: switches, lost connections, errors, Ctrl-C; latched until armed again."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest
from robot_helpers import (
    WrittenPolicy,
    forward,
    make_client,
)

from ibrl_fast.robot import (
    RobotError,
    StopFile,
)


@pytest.mark.parametrize("answer", [[math.nan] * 4, [math.inf, 0, 0, 0]])
def test_an_answer_of_nan_stops(answer: list[float]) -> None:
    client, robot, policy, _ = make_client(lambda obs: answer if policy.steps == 3 else forward(obs))
    client.arm()
    episode = client.run_episode()
    if math.isnan(answer[0]):
        assert episode.outcome == "fault" and robot.commands == 2 and robot.is_stopped
    else:  # infinity is clipped to 1
        assert episode.outcome == "time limit"


def test_a_policy_that_raises_stops() -> None:
    def fails(obs: object) -> list[float]:
        raise RuntimeError("action: expected finite numbers, got inf or nan from the policy's networks")

    client, robot, _, _ = make_client(fails)
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "fault" and "policy: action: expected finite" in episode.detail
    assert robot.is_stopped and robot.commands == 0


def test_a_lost_connection_stops() -> None:
    client, robot, policy, _ = make_client()

    def lost(obs: object) -> list[float]:
        robot.faults.is_disconnected = policy.steps == 3
        return forward(obs)

    policy._choose = lost
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "fault" and "connection" in episode.detail
    assert len(episode.steps) == 2 and not client.is_armed and robot.is_stopped


def test_an_emergency_stop_is_latched(tmp_path: Path) -> None:
    file = tmp_path / "STOP"
    client, robot, policy, _ = make_client(switches=[StopFile(file)])

    def operated(obs: object) -> list[float]:
        if policy.steps == 3:
            file.touch()
        return forward(obs)

    policy._choose = operated
    client.arm()
    episode = client.run_episode()
    # it is looked at again just before sending: the third command never left
    assert episode.outcome == "stopped" and robot.commands == 2 and robot.is_stopped
    with pytest.raises(RobotError, match="expected every switch released"):
        client.arm()
    file.unlink()
    with pytest.raises(RobotError, match="arm it"):  # released, yet not armed
        client.run_episode()
    client.arm()
    policy._choose = forward
    assert client.run_episode().outcome == "time limit"


def test_a_stop_counts_during_a_reset_too(tmp_path: Path) -> None:
    file = tmp_path / "STOP"
    client, robot, policy, _ = make_client(switches=[StopFile(file)])
    stopped = threading.Event()
    original = robot.stop

    def reset() -> None:
        file.touch()
        assert stopped.wait(30.0)  # the arm is on its way until it is stopped

    def stop() -> None:
        original()
        stopped.set()

    robot.reset, robot.stop = reset, stop  # type: ignore[method-assign]
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "stopped" and "STOP" in episode.detail
    assert robot.is_stopped and not client.is_armed and policy.steps == robot.commands == 0


def test_a_robot_that_cannot_be_reset_is_stopped() -> None:
    client, robot, _, _ = make_client()

    def reset() -> None:
        raise RobotError("reset: expected the arm to reach its start, got a wall")

    robot.reset = reset  # type: ignore[method-assign]
    client.arm()
    with pytest.raises(RobotError, match="got a wall"):
        client.run_episode()
    assert robot.is_stopped and not client.is_armed


def test_ctrl_c_and_mistakes_stop_the_robot() -> None:
    kept = []

    class Keeper:
        def prepare(self, info: object, facts: object) -> None: ...

        def keep(self, episode: object) -> None:
            kept.append(episode)

    for error, outcome in ((KeyboardInterrupt, "stopped"), (ZeroDivisionError, "fault")):
        client, robot, policy, _ = make_client(recorder=Keeper())

        def interrupted(obs: object, policy: WrittenPolicy = policy, error: type = error) -> list[float]:
            if policy.steps == 3:
                raise error
            return forward(obs)

        policy._choose = interrupted
        client.arm()
        with pytest.raises(error):
            client.run_episode()
        assert robot.is_stopped and not client.is_armed
        assert kept[-1].outcome == outcome and len(kept[-1].steps) == 2


def test_close_stops_the_robot() -> None:
    client, robot, _, _ = make_client()
    client.arm()
    client.close()
    assert robot.is_stopped and not client.is_armed
    client.close()
