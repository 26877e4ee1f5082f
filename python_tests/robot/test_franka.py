"""The Franka adapter against `franky-sim`, which serves libfranka's protocol; both are installed apart."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from robot_helpers import WrittenPolicy

from ibrl_fast.deploy import ObservationField
from ibrl_fast.errors import ArgumentError
from ibrl_fast.robot import Command, MonotonicClock, Robot, RobotClient, RobotError, SafetyLimits
from ibrl_fast.robot.adapters.franka import FrankaHand, FrankaRobot

# far from where other programs look for a robot
HOST = "127.0.5.7"
LIMITS = SafetyLimits(
    (0.2, -0.3, 0.2),
    (0.6, 0.3, 0.7),
    rotation_reference=(1.0, 0.0, 0.0, 0.0),
    on_boundary="clip",
)

SIMULATION = """
import sys, franky_sim
from franky_sim.mujoco_simulator import MujocoSimulator
with MujocoSimulator(enable_visualization=False) as simulation:
    simulation.add_robot()
    with franky_sim.SimulationServer(simulation, hostname_candidates=[sys.argv[1]]) as server:
        print("ready", flush=True)
        server.run_forever()
"""


@pytest.fixture(scope="module")
def simulation() -> Iterator[str]:
    """A simulated FR3 in a process of its own; its address."""
    pytest.importorskip("franky", reason="needs franky-control")
    pytest.importorskip("franky_sim", reason="needs franky-sim")
    process = subprocess.Popen([sys.executable, "-c", SIMULATION, HOST], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield HOST
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def robot(simulation: str) -> Iterator[FrankaRobot]:
    robot = FrankaRobot(simulation, gripper=FrankaHand(simulation), dynamics=0.4, real_time=False)
    robot.connect()
    yield robot
    robot.close()


def eventually(robot: FrankaRobot, is_there: object, seconds: float = 30.0) -> None:
    clock = MonotonicClock()
    end = clock.now() + seconds
    while not is_there(robot.observe().state):
        assert clock.now() < end, robot.observe().state
        clock.sleep(0.02)


def test_options_that_cannot_be() -> None:
    for options in ({"dynamics": 0.0}, {"home": [0.0] * 6}, {"impedance": [1.0]}):
        with pytest.raises(ArgumentError, match=next(iter(options))):
            FrankaRobot(HOST, **options)
    with pytest.raises(RobotError, match="connected"):
        FrankaRobot(HOST).observe()


@pytest.mark.slow
def test_the_arm_goes_where_it_is_told_and_stays(robot: FrankaRobot) -> None:
    assert isinstance(robot, Robot)
    robot.reset()
    start = robot.observe()
    assert start.sensors["proprio"].value.shape == (9,)
    np.testing.assert_allclose(
        start.sensors["joints"].value, [0, -0.785, 0, -2.356, 0, 1.571, 0.785], atol=0.06
    )
    target = np.add(start.state.position, [0.03, 0.02, -0.02])
    robot.command(Command(np.array([0.03, 0.02, -0.02]), gripper=0.02))
    eventually(robot, lambda state: np.abs(state.position - target).max() < 0.012)
    eventually(robot, lambda state: abs(state.gripper_width - 0.02) < 0.004)
    assert robot.observe().state.gripper_target == 0.02

    # a turn about the base frame's z
    before = robot.observe().state.rotation
    robot.command(Command(rotation=np.array([0.0, 0.0, 0.1])))
    reference = pytest.importorskip("scipy.spatial.transform").Rotation

    def turned(state: object) -> bool:
        turn = reference.from_quat(state.rotation) * reference.from_quat(before).inv()
        return np.abs(turn.as_rotvec() - [0.0, 0.0, 0.1]).max() < 0.02

    eventually(robot, turned)

    # a hold on the way, a stop, and no command after it
    robot.command(Command(np.array([0.0, 0.0, 0.1])))
    MonotonicClock().sleep(0.2)
    robot.hold()
    MonotonicClock().sleep(1.0)
    held = robot.observe().state.position
    MonotonicClock().sleep(0.5)
    np.testing.assert_allclose(robot.observe().state.position, held, atol=0.002)
    robot.stop()
    with pytest.raises(RobotError, match="reset it"):
        robot.command(Command())
    robot.reset()
    robot.command(Command())


@pytest.mark.slow
def test_an_episode_through_client_and_adapter(robot: FrankaRobot) -> None:
    policy = WrittenPolicy(
        lambda obs: [0.3, 0.0, -0.2, -1.0], {"proprio": ObservationField((9,))}, action_dim=4
    )
    client = RobotClient(robot, policy, 10.0, safety=LIMITS, max_steps=20, max_age=1.0, max_holds=10)
    client.arm()
    assert client.run_episode().outcome == "time limit"
    # the second begins while the hold at the end of the first is under way
    episode = client.run_episode()
    assert episode.outcome == "time limit", episode.detail
    way = episode.last.state.position - episode.steps[0].observation.state.position
    assert way[0] > 0.02 and way[2] < -0.01 and abs(way[1]) < 0.01
