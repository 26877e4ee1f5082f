"""A simulated robot without physics: a point that goes where it is told, one block to grasp, one camera.

Everything follows from the clock, the seed and the commands, so that a test repeats to the last bit; faults
can be switched on while it runs. The gripper closes on the block where the block is between its fingers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ibrl_fast.deploy import ObservationField
from ibrl_fast.robot.clock import Clock, MonotonicClock
from ibrl_fast.robot.robot import Array, Command, Observation, Reading, RobotError, RobotInfo, RobotState
from ibrl_fast.robot.rotations import from_vector, multiply

MAX_WIDTH = 0.085
BLOCK_WIDTH = 0.04
HOME = (0.4, 0.0, 0.25)
TABLE_HEIGHT = 0.05
IMAGE_SIZE = 96
_FIELD_OF_VIEW = 0.3  # m of the table that the camera's image is wide


@dataclass
class Faults:
    """What goes wrong at the moment; all off at first."""

    observe_latency: float = 0.0
    """Seconds that `observe` takes."""
    command_latency: float = 0.0
    """Seconds that `command` takes."""
    stale: set[str] = field(default_factory=set)
    """Sensors that deliver nothing new: value and time stamp stay."""
    frozen: set[str] = field(default_factory=set)
    """Sensors whose value stays while their time stamps go on."""
    nan: set[str] = field(default_factory=set)
    """Vector sensors that read NaN."""
    drop_rate: float = 0.0
    """Share of the camera's frames that get lost."""
    gripper_stuck: bool = False
    """Whether the gripper ignores commands."""
    is_disconnected: bool = False
    """Whether every call fails."""


class MockRobot:
    """A point robot with one block on a table.

    Its sensors are `proprio` [9] (position, quaternion, gripper width and target), `state` [12] (the same and
    the block's position) and the camera `wrist` [3, 96, 96], which looks down from the gripper.

    Args:
        clock: what time stamps and motion follow.
        seed: decides where the block lies and which frames get lost.
        max_speed: of the end effector, m/s.
        faults: what goes wrong; may be changed at any time.
        spread: how far the block may lie from the middle, m, in x and in y.

    Attributes:
        commands: how many commands came.
        is_stopped: whether `stop` was called after the last `reset`.
        block: `[3]`, where the block is, m.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        seed: int = 0,
        max_speed: float = 0.5,
        faults: Faults | None = None,
        spread: float = 0.05,
    ) -> None:
        self.faults = faults or Faults()
        self.commands = 0
        self.is_stopped = False
        self._clock = clock or MonotonicClock()
        self._random = np.random.default_rng(seed)
        self._max_speed = max_speed
        self._spread = spread
        self._gripper_speed = 0.15
        self._sensors = {
            "proprio": ObservationField((9,)),
            "state": ObservationField((12,)),
            "wrist": ObservationField((3, IMAGE_SIZE, IMAGE_SIZE), "uint8", low=0.0, high=255.0),
        }
        self._last: dict[str, Reading] = {}
        self._rotation: Array = np.array([0.0, 0.0, 0.0, 1.0])
        self._place()

    def connect(self) -> RobotInfo:
        """Return what it is."""
        self._check_connection()
        return RobotInfo("mock", self._sensors, MAX_WIDTH)

    def observe(self) -> Observation:
        """Return all sensors, faults included."""
        self._check_connection()
        self._move()
        state = RobotState(
            self._position.copy(), self._rotation.copy(), self._width, self._width_target, self._clock.now()
        )
        self._clock.sleep(self.faults.observe_latency)
        values = self._measure(state)
        for name, value in values.items():
            before = self._last.get(name)
            is_image = value.ndim == 3
            is_dropped = is_image and self._random.random() < self.faults.drop_rate
            if before is not None and (name in self.faults.stale or is_dropped):
                continue
            if before is not None and name in self.faults.frozen:
                value = before.value
            if name in self.faults.nan and not is_image:
                value = np.full_like(value, np.nan)
            self._last[name] = Reading(value, state.time)
        return Observation(dict(self._last), state)

    def command(self, command: Command) -> None:
        """Set the targets of position, rotation and gripper."""
        self._check_connection()
        self._clock.sleep(self.faults.command_latency)
        if self.is_stopped:
            raise RobotError("command: expected a robot that runs, got one that was stopped; reset it")
        self._move()
        self.commands += 1
        self._target = self._position + command.translation
        self._rotation = multiply(from_vector(command.rotation), self._rotation)
        if command.gripper is not None:
            self._width_target = min(max(command.gripper, 0.0), MAX_WIDTH)

    def hold(self) -> None:
        """Stay here."""
        self._check_connection()
        self._move()
        self._target = self._position.copy()

    def stop(self) -> None:
        """Stay here until `reset`."""
        self._move()
        self._target = self._position.copy()
        self.is_stopped = True
        self._check_connection()

    def reset(self) -> None:
        """Be at home with the block at another place, at once."""
        self._check_connection()
        self._place()

    def close(self) -> None:
        """Stop."""
        self.is_stopped = True

    def _check_connection(self) -> None:
        if self.faults.is_disconnected:
            raise RobotError("robot: expected an answer, got none: the connection is gone")

    def _place(self) -> None:
        """Start over."""
        self.is_stopped = False
        self._position = np.array(HOME)
        self._target = self._position.copy()
        self._rotation = np.array([0.0, 0.0, 0.0, 1.0])
        self._width = self._width_target = MAX_WIDTH
        offset = self._random.uniform(-self._spread, self._spread, 2)
        self.block = np.array([HOME[0] + offset[0], HOME[1] + offset[1], TABLE_HEIGHT])
        self._is_held = False
        self._moved_at = self._clock.now()

    def _move(self) -> None:
        """Do what happened since the last call."""
        now = self._clock.now()
        seconds, self._moved_at = now - self._moved_at, now

        # the end effector, in a straight line
        way = self._target - self._position
        distance = math.hypot(*way)
        share = 1.0 if distance <= self._max_speed * seconds else self._max_speed * seconds / distance
        self._position = self._position + share * way
        self._position[2] = max(self._position[2], TABLE_HEIGHT - 0.01)

        # the gripper, down to the block where that is between the fingers
        if not self.faults.gripper_stuck:
            change = self._width_target - self._width
            reach = self._gripper_speed * seconds
            wished = self._width + min(max(change, -reach), reach)
            near = math.hypot(*(self.block - self._position)) < 0.02
            self._is_held = (self._is_held or near) and wished <= BLOCK_WIDTH
            self._width = BLOCK_WIDTH if self._is_held else wished
        if self._is_held:
            self.block = self._position.copy()

    def _measure(self, state: RobotState) -> dict[str, Array]:
        """Return the value of every sensor."""
        proprio = np.array(
            [*state.position, *state.rotation, state.gripper_width, state.gripper_target], dtype=np.float32
        )
        full = np.concatenate([proprio, self.block.astype(np.float32)])
        return {"proprio": proprio, "state": full, "wrist": self._draw(state)}

    def _draw(self, state: RobotState) -> Array:
        """Return the image `[3, 96, 96]` from above the gripper: grey table, red block."""
        image = np.full((3, IMAGE_SIZE, IMAGE_SIZE), 120, dtype=np.uint8)
        scale = IMAGE_SIZE / _FIELD_OF_VIEW
        center = IMAGE_SIZE / 2 + scale * (self.block - state.position)[:2]
        half = scale * BLOCK_WIDTH / 2
        low = np.clip(np.round(center - half), 0, IMAGE_SIZE).astype(int)
        high = np.clip(np.round(center + half), 0, IMAGE_SIZE).astype(int)
        image[:, low[1] : high[1], low[0] : high[0]] = np.array([200, 30, 30], dtype=np.uint8)[:, None, None]
        return image
