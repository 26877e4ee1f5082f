"""The control loop on a manual clock: deadlines, holds, stops, ends; nothing here is timed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from robot_helpers import (
    CAMERA,
    LIMITS,
    STATE,
    WrittenPolicy,
    at_each_tick,
    forward,
    lift,
    make_client,
    still,
)

from ibrl_fast.deploy import ObservationField
from ibrl_fast.errors import ArgumentError
from ibrl_fast.robot import (
    ManualClock,
    MockRobot,
    Observation,
    RobotClient,
    RobotError,
)
from ibrl_fast.robot.mock import HOME


def test_commands_go_out_at_absolute_deadlines() -> None:
    client, robot, policy, clock = make_client()
    policy.seconds = 0.03  # what a step takes does not add up
    client.arm()
    start = clock.now()
    episode = client.run_episode()
    assert episode.outcome == "time limit" and episode.truncated and not episode.terminated
    assert len(episode.steps) == robot.commands == 20
    np.testing.assert_allclose([t.deadline for t in episode.times], start + 0.1 * np.arange(21), atol=1e-9)
    np.testing.assert_allclose([t.started for t in episode.times], start + 0.1 * np.arange(21), atol=1e-9)
    assert episode.missed == 0 and episode.held == {}
    timing = episode.timing(client.period)
    assert timing["inference"]["p50"] == pytest.approx(30.0) and timing["jitter"]["max"] < 1e-6
    assert policy.warm_ups == 1
    # 20 steps of 3 mm
    np.testing.assert_allclose(robot.observe().state.position, np.add(HOME, [0.06, 0, 0]), atol=1e-9)
    assert "time limit after 20 steps" in episode.report(client.period)


def test_runs_repeat_bit_for_bit() -> None:
    def run() -> list[bytes]:
        client, *_ = make_client(lift, seed=4, max_steps=40)
        client.arm()
        return [step.action.tobytes() + repr(step.times).encode() for step in client.run_episode().steps]

    assert run() == run()


def test_a_missed_deadline_is_counted_and_never_caught_up_in_a_burst() -> None:
    client, robot, policy, clock = make_client(max_holds=1)

    def slow_once(obs: object) -> list[float]:
        policy.seconds = 0.25 if policy.steps == 4 else 0.0  # the fifth takes 0.25 s
        return [0.1, 0.0, 0.0, -1.0]

    policy._choose = slow_once
    client.arm()
    start = clock.now()
    episode = client.run_episode()
    ticks = [round((t.started - start) / 0.1) for t in episode.times]
    assert ticks == [0, 1, 2, 3, 4, *range(7, 23)]
    assert episode.missed == 2
    assert episode.held == {"late": 1}  # its answer was too old to be sent
    assert robot.commands == 19
    late = episode.steps[4]
    assert late.held.startswith("late: the answer came 150 ms") and late.times.sent is None
    np.testing.assert_array_equal(late.action, [0, 0, 0, -1])
    np.testing.assert_allclose(late.proposed, [0.1, 0, 0, -1])


def test_an_answer_that_is_always_late_stops_the_robot() -> None:
    client, robot, policy, _ = make_client(max_holds=3)
    policy.seconds = 0.15
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "fault" and "late" in episode.detail
    assert robot.commands == 0 and robot.is_stopped
    assert not client.is_armed and client.stop_reason is not None
    with pytest.raises(RobotError, match="arm it"):
        client.run_episode()
    # an explicit re-arm, and it goes on
    policy.seconds = 0.0
    client.arm()
    assert client.run_episode().outcome == "time limit"


def test_a_stale_sensor_holds_then_stops() -> None:
    client, robot, _, _ = make_client(max_age=0.25, max_holds=2)
    at_each_tick(robot, lambda tick: robot.faults.stale.update({"state"} if tick == 5 else ()))
    client.arm()
    episode = client.run_episode()
    # at ticks 5 and 6 it is 0.1 and 0.2 s old, which is allowed
    assert episode.outcome == "fault"
    assert episode.detail.startswith("held 3 times in a row: state: 500 ms old, of 250 ms")
    assert episode.held == {"state": 3} and robot.is_stopped
    assert len(episode.steps) == 7 and len(episode.times) == 10


def test_a_short_gap_only_holds() -> None:
    client, robot, _, _ = make_client(max_age=0.15, max_holds=3)

    def change(tick: int) -> None:
        robot.faults.stale = {"state"} if 5 <= tick < 9 else set()

    at_each_tick(robot, change)
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "time limit" and episode.held == {"state": 3}
    assert len(episode.steps) == robot.commands == 17


@pytest.mark.parametrize("fault", ["nan", "missing", "future", "old clock"])
def test_readings_that_cannot_be_right_are_not_acted_on(fault: str) -> None:
    client, robot, _, _ = make_client(max_holds=0)
    original = robot.observe

    def observe() -> Observation:
        seen = original()
        reading = seen.sensors["state"]
        changed = {
            "nan": {"state": replace(reading, value=np.full(12, np.nan, dtype=np.float32))},
            "missing": {},
            "future": {"state": replace(reading, time=reading.time + 1.0)},
            "old clock": {"state": replace(reading, time=math.nan)},
        }
        return replace(seen, sensors=changed[fault])

    robot.observe = observe
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "fault" and episode.steps == [] and robot.commands == 0 and robot.is_stopped


def test_a_frozen_camera_is_found_though_its_stamps_go_on() -> None:
    client, robot, _, _ = make_client(
        lambda obs: [0.5, 0.0, 0.0, -1.0], fields=CAMERA, max_same_frames=2, max_holds=1, max_steps=12
    )
    at_each_tick(robot, lambda tick: robot.faults.frozen.update({"wrist"} if tick == 5 else ()))
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "fault" and "wrist: the same image 5 times" in episode.detail
    assert episode.held == {"wrist": 2} and robot.is_stopped


def test_the_boundary_ends_the_episode_with_reward_0() -> None:
    limits = replace(LIMITS, position_high=(HOME[0] + 0.05, 0.2, 0.5))
    client, robot, _, _ = make_client(lambda obs: [1.0, 0.0, 0.0, -1.0], safety=limits)
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "boundary" and episode.terminated and not episode.truncated
    assert episode.reward == 0.0
    assert episode.interventions == {"position": 1}
    # the step that would have left is the last one, as it was asked for
    assert len(episode.steps) == 2 and robot.commands == 1
    np.testing.assert_array_equal(episode.steps[-1].action, [1, 0, 0, -1])
    assert not robot.is_stopped and client.is_armed  # it holds, ready for the next episode
    assert client.run_episode().outcome == "boundary"

    # clipped instead: it goes on, along the wall
    client, robot, _, _ = make_client(
        lambda obs: [1.0, 0.0, 0.0, -1.0], safety=replace(limits, on_boundary="clip")
    )
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "time limit" and episode.interventions["position"] == 19
    assert robot.observe().state.position[0] <= HOME[0] + 0.05
    np.testing.assert_allclose(episode.steps[1].action[0], 2 / 3, atol=1e-6)  # what was done


def test_a_robot_that_is_pushed_out_ends_the_episode() -> None:
    client, robot, policy, _ = make_client(still)

    def pushed(obs: object) -> list[float]:
        if policy.steps == 4:
            robot._position = robot._target = np.array([0.7, 0.0, 0.2])
        return still(obs)

    policy._choose = pushed
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "boundary" and "outside the box" in episode.detail
    assert len(episode.steps) == 4 and episode.last.state.position[0] == 0.7


def test_success_ends_with_reward_1() -> None:
    client, _, _, _ = make_client(lift, success=lambda seen: seen[-1].state.position[2] < 0.2)
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "success" and episode.terminated
    assert [step.reward for step in episode.steps] == [0.0] * (len(episode.steps) - 1) + [1.0]
    assert episode.last.state.position[2] < 0.2 <= episode.steps[-1].observation.state.position[2]
    assert client.is_armed


def test_a_dry_run_moves_nothing() -> None:
    client, robot, policy, _ = make_client(mode="dry")
    client.arm()
    episode = client.run_episode()
    assert episode.outcome == "time limit" and len(episode.steps) == policy.steps == 20
    assert robot.commands == 0
    np.testing.assert_array_equal(robot.observe().state.position, HOME)
    assert episode.steps[0].action[0] == np.float32(0.1)  # what would have been done


def test_shadow_mode_lets_a_script_move_through_the_same_filter() -> None:
    limits = replace(LIMITS, on_boundary="clip", position_high=(HOME[0] + 0.01, 0.2, 0.5))
    client, robot, policy, _ = make_client(
        still, mode="shadow", mover=lambda seen: np.array([0.5, 0.0, 0.0, -1.0]), safety=limits
    )
    client.arm()
    episode = client.run_episode()
    assert policy.steps == robot.commands == 20
    np.testing.assert_allclose(episode.steps[0].action, [1 / 3, 0, 0, -1], atol=1e-6)
    np.testing.assert_array_equal(episode.steps[0].proposed, still({}))
    assert episode.interventions["position"] == 20

    client, robot, policy, _ = make_client(mode="shadow")
    client.arm()
    client.run_episode()
    assert policy.steps == 20 and robot.commands == 0


def test_what_does_not_fit_is_refused_before_anything_moves() -> None:
    clock = ManualClock()
    robot = MockRobot(clock)
    for fields, message in (
        ({"state": ObservationField((7,))}, r"expected the sensor state \[7\] float32 .* got \[12\] float32"),
        ({"side": ObservationField((12,))}, "expected the sensor side .* got none"),
    ):
        client = RobotClient(robot, WrittenPolicy(forward, fields), safety=LIMITS, clock=clock)
        with pytest.raises(ArgumentError, match=message):
            client.arm()
    policy = WrittenPolicy(forward, action_dim=5)
    with pytest.raises(ArgumentError, match=r"action: expected 4 .* got 5"):
        RobotClient(robot, policy, safety=LIMITS)
    policy = WrittenPolicy(forward)
    policy.contract = replace(policy.contract, control_period=0.05)
    with pytest.raises(
        ArgumentError, match="rate_hz: expected 20, with which the policy was trained, got 10"
    ):
        RobotClient(robot, policy, safety=LIMITS)
    for option, message in (
        ({"rate_hz": 0.0}, "rate_hz"),
        ({"mode": "test"}, "mode: expected run, dry, shadow"),
        ({"mover": forward}, "mover: expected none in mode run"),
        ({"max_steps": 0}, "max_steps"),
        ({"max_holds": -1}, "max_holds"),
        ({"max_age": {"side": 1.0}}, "max_age: expected names among state, robot state"),
        ({"max_age": 0.0}, "max_age"),
        ({"max_same_frames": 0}, "max_same_frames"),
    ):
        with pytest.raises(ArgumentError, match=message):
            RobotClient(robot, WrittenPolicy(forward, STATE), safety=LIMITS, **option)
    with pytest.raises(RobotError, match="arm it"):
        RobotClient(robot, WrittenPolicy(forward), safety=LIMITS).run_episode()
