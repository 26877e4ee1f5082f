"""What the robot's tests share: policies that are written down, limits of the mock, clients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ibrl_fast.deploy import ObservationContract, ObservationField
from ibrl_fast.robot import ManualClock, MockRobot, Observation, RobotClient, SafetyLimits
from ibrl_fast.robot.clock import Clock
from ibrl_fast.robot.mock import IMAGE_SIZE, TABLE_HEIGHT
from ibrl_fast.robot.robot import Array

Choose = Callable[[Mapping[str, Array]], Any]

LIMITS = SafetyLimits(
    position_low=(0.2, -0.2, TABLE_HEIGHT - 0.005),
    position_high=(0.6, 0.2, 0.5),
    rotation_low=(-0.5, -0.5, -0.5),
    rotation_high=(0.5, 0.5, 0.5),
)
FREE = "tcp://127.0.0.1:0"
# another process may take the processor at any time: nothing here depends on how soon an answer comes
PATIENT = {"timeout": 10.0, "patience": 20.0}
STATE = {"state": ObservationField((12,))}
CAMERA = {
    "proprio": ObservationField((9,)),
    "wrist": ObservationField((3, IMAGE_SIZE, IMAGE_SIZE), "uint8", low=0.0, high=255.0),
}


class WrittenPolicy:
    """A policy that is a function of the newest frame; takes time on a clock if told to."""

    def __init__(
        self,
        choose: Choose,
        fields: Mapping[str, ObservationField] = STATE,
        clock: Clock | None = None,
        action_dim: int = 4,
    ) -> None:
        self.contract = ObservationContract(fields, action_dim)
        self.source: int | None = None
        self.seconds = 0.0
        self.resets = self.warm_ups = self.steps = 0
        self._choose, self._clock = choose, clock

    def reset(self) -> None:
        self.resets += 1

    def warm_up(self) -> None:
        self.warm_ups += 1

    def step(self, obs: Mapping[str, Array]) -> Array:
        self.steps += 1
        self.source = self.steps % 2
        if self._clock is not None:
            self._clock.sleep(self.seconds)
        return np.asarray(self._choose(obs), dtype=np.float32)


def still(obs: Mapping[str, Array]) -> list[float]:
    """Do nothing, gripper open."""
    return [0.0, 0.0, 0.0, -1.0]


def forward(obs: Mapping[str, Array]) -> list[float]:
    """Go along x by 0.003 m, gripper open."""
    return [0.1, 0.0, 0.0, -1.0]


def lift(obs: Mapping[str, Array]) -> list[float]:
    """Go to the block, grasp it and go up; without memory."""
    state = obs["state"]
    way = state[9:] - state[:3]
    if np.linalg.norm(way) > 0.01:
        return [*np.clip(way / 0.03, -1.0, 1.0), -1.0]
    is_grasped = state[7] < 0.0405 and state[8] < 0.01
    return [0.0, 0.0, 0.5 if is_grasped else 0.0, 1.0]


def make_client(
    choose: Choose = forward, *, fields: Mapping[str, ObservationField] = STATE, seed: int = 0, **options: Any
) -> tuple[RobotClient, MockRobot, WrittenPolicy, ManualClock]:
    """A client of a mock robot on a manual clock; not armed yet."""
    clock = ManualClock()
    robot = MockRobot(clock, seed=seed)
    policy = WrittenPolicy(choose, fields, clock)
    options = {"safety": LIMITS, "max_steps": 20, **options}
    return RobotClient(robot, policy, clock=clock, **options), robot, policy, clock


def at_each_tick(robot: MockRobot, change: Callable[[int], None]) -> None:
    """Calls a function with the number of the tick, from 0, before the sensors are read at it."""
    original, ticks = robot.observe, itertools.count()

    def observe() -> Observation:
        change(next(ticks))
        return original()

    robot.observe = observe  # type: ignore[method-assign]
