"""The mock robot: motion by the clock, the block, and every fault."""

from __future__ import annotations

import numpy as np
import pytest

from ibrl_fast.robot import Command, Faults, ManualClock, MockRobot, Robot, RobotError
from ibrl_fast.robot.mock import BLOCK_WIDTH, HOME, MAX_WIDTH


def make(**arguments: object) -> tuple[MockRobot, ManualClock]:
    clock = ManualClock()
    return MockRobot(clock, **arguments), clock


def test_it_is_a_robot_and_says_what_it_measures() -> None:
    robot, _ = make()
    assert isinstance(robot, Robot)
    info = robot.connect()
    sensors = robot.observe().sensors
    assert sensors.keys() == info.sensors.keys()
    for name, field in info.sensors.items():
        assert sensors[name].value.shape == field.shape and str(sensors[name].value.dtype) == field.dtype


def test_motion_takes_its_time_and_ends_at_the_target() -> None:
    robot, clock = make(max_speed=0.5)
    robot.command(Command(np.array([0.1, 0.0, 0.0])))
    clock.sleep(0.1)
    np.testing.assert_allclose(robot.observe().state.position, np.add(HOME, [0.05, 0, 0]), atol=1e-12)
    clock.sleep(1.0)
    np.testing.assert_allclose(robot.observe().state.position, np.add(HOME, [0.1, 0, 0]), atol=1e-12)
    robot.command(Command(np.array([0.0, 0.1, 0.0])))
    robot.hold()
    clock.sleep(1.0)
    np.testing.assert_allclose(robot.observe().state.position, np.add(HOME, [0.1, 0, 0]), atol=1e-12)


def test_a_stopped_robot_refuses_commands_until_reset() -> None:
    robot, clock = make()
    robot.command(Command(np.array([0.1, 0.0, 0.0])))
    robot.stop()
    clock.sleep(1.0)
    np.testing.assert_allclose(robot.observe().state.position, HOME)
    with pytest.raises(RobotError, match="reset"):
        robot.command(Command())
    robot.reset()
    robot.command(Command())


def test_the_gripper_closes_on_the_block_and_lifts_it() -> None:
    robot, clock = make(seed=3)
    robot.command(Command(robot.block - np.array(HOME)))
    clock.sleep(2.0)
    robot.command(Command(gripper=0.0))
    clock.sleep(2.0)
    state = robot.observe().state
    assert state.gripper_width == BLOCK_WIDTH and state.gripper_target == 0.0
    robot.command(Command(np.array([0.0, 0.0, 0.1])))
    clock.sleep(2.0)
    np.testing.assert_allclose(robot.observe().sensors["state"].value[9:], robot.block, atol=1e-6)
    assert robot.block[2] > 0.14
    robot.command(Command(gripper=MAX_WIDTH))
    clock.sleep(2.0)
    assert robot.observe().state.gripper_width == MAX_WIDTH


def test_it_repeats_bit_for_bit() -> None:
    def run() -> list[bytes]:
        robot, clock = make(seed=5, faults=Faults(drop_rate=0.5))
        seen = []
        for step in range(20):
            robot.command(Command(np.array([0.01, -0.005, 0.0]), gripper=0.01 * (step % 8)))
            clock.sleep(0.1)
            sensors = robot.observe().sensors
            seen += [sensors[name].value.tobytes() + str(sensors[name].time).encode() for name in sensors]
        return seen

    assert run() == run()


def test_faults() -> None:
    robot, clock = make()
    first = robot.observe().sensors
    robot.command(Command(np.array([0.02, 0.0, 0.0])))
    clock.sleep(0.1)
    robot.faults.stale = {"wrist"}
    robot.faults.frozen = {"state"}
    robot.faults.nan = {"proprio"}
    robot.faults.observe_latency = 0.25
    before = clock.now()
    sensors = robot.observe().sensors
    assert clock.now() == before + 0.25
    assert sensors["wrist"].time == first["wrist"].time
    assert sensors["state"].time == before
    np.testing.assert_array_equal(sensors["state"].value, first["state"].value)
    assert np.isnan(sensors["proprio"].value).all()

    robot.faults = Faults(gripper_stuck=True)
    robot.command(Command(gripper=0.0))
    clock.sleep(1.0)
    state = robot.observe().state
    assert state.gripper_width == MAX_WIDTH and state.gripper_target == 0.0

    robot.faults = Faults(is_disconnected=True)
    for call in (robot.connect, robot.observe, robot.hold, robot.stop, robot.reset):
        with pytest.raises(RobotError, match="connection is gone"):
            call()
    assert robot.is_stopped  # a stop takes effect even where the answer is lost


def test_lost_frames_keep_their_old_stamp() -> None:
    robot, clock = make(faults=Faults(drop_rate=0.5), seed=1)
    stamps = []
    for _ in range(40):
        clock.sleep(0.1)
        stamps.append(robot.observe().sensors["wrist"].time)
    assert 10 < len(set(stamps)) < 30
