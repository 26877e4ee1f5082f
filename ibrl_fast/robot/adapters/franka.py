"""Franka Panda and FR3 over `franky-control` (libfranka): hardware, or whatever serves libfranka's protocol.

    pip install franky-control==2.0.0 websockets

franky runs the 1 kHz control in a thread of its own and replaces a motion by the next without stopping; its
motions keep to the arm's own limits of speed, acceleration and jerk. The sensors are `proprio` [9] (position,
quaternion, gripper width and target), `joints` [7] rad, and the cameras that are given.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ibrl_fast.deploy import ObservationField
from ibrl_fast.errors import expect, first_line
from ibrl_fast.robot.cameras import CameraThread
from ibrl_fast.robot.clock import Clock, MonotonicClock
from ibrl_fast.robot.extras import need
from ibrl_fast.robot.gripper import Gripper, GripperThread
from ibrl_fast.robot.robot import Command, Observation, Reading, RobotError, RobotInfo, RobotState
from ibrl_fast.robot.rotations import from_vector, multiply

HOME = (0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785)
"""Joint angles at which episodes start, rad."""
_END_SECONDS = 5.0
INSTALL = "franky-control==2.0.0 websockets"


class FrankaHand:
    """The Franka Hand as a `Gripper`: closing grasps with a force, opening moves.

    Args:
        host: address of the robot's control.
        speed: of the fingers, m/s.
        force: of a grasp, N.
    """

    def __init__(self, host: str, *, speed: float = 0.1, force: float = 20.0) -> None:
        self._host, self._speed, self._force = host, speed, force
        self._hand: Any = None
        self._motion: Any = None
        # the end of a motion that was broken off may never be told, and who drops it waits for that
        self._broken_off: list[Any] = []

    def connect(self) -> float:
        """Connect; it is not moved."""
        franky = need("franky", INSTALL)
        self._hand = _ask("gripper", lambda: franky.Gripper(self._host))
        return float(_ask("gripper", lambda: self._hand.max_width))

    def width(self) -> float:
        """Measure the width, m."""
        return float(_ask("gripper", lambda: self._hand.width))

    def is_ready(self) -> bool:
        """Whether the last motion has ended: the hand's control takes one at a time."""
        return self._motion is None or bool(self._motion.wait(0.0))

    def move(self, width: float) -> None:
        """Start to grasp or to open."""
        if width < self.width():
            # whatever is between the fingers may be of any width
            grasp = (width, self._speed, self._force, 1.0, 1.0)
            self._motion = _ask("gripper", lambda: self._hand.grasp_async(*grasp))
        else:
            self._motion = _ask("gripper", lambda: self._hand.move_async(width, self._speed))

    def stop(self) -> None:
        """Stop the fingers."""
        if not self.is_ready():
            self._broken_off.append(self._motion)
        self._motion = None
        _ask("gripper", lambda: self._hand.stop())

    def close(self) -> None:
        """Let go of the connection."""
        self._hand = None


class FrankaRobot:
    """A Franka arm.

    Args:
        host: address of the robot's control.
        gripper: a `RobotiqGripper`, `FrankaHand(host)`, ...; None: there is none.
        cameras: by the name of the sensor; started by `connect`.
        image_size: height and width of their images, pixels.
        dynamics: share of the arm's own limits of speed, acceleration and jerk, in (0, 1].
        impedance: Cartesian stiffness (N/m, N/m, N/m, Nm/rad, Nm/rad, Nm/rad); None: as it is set.
        home: joint angles at which episodes start, rad.
        real_time: refuse to run without a real-time kernel, as hardware needs.
        clock: of the time stamps.
    """

    def __init__(
        self,
        host: str,
        *,
        gripper: Gripper | None = None,
        cameras: Mapping[str, CameraThread] | None = None,
        image_size: int = 96,
        dynamics: float = 0.1,
        impedance: Sequence[float] | None = None,
        home: Sequence[float] = HOME,
        real_time: bool = True,
        clock: Clock | None = None,
    ) -> None:
        expect(0.0 < dynamics <= 1.0, "dynamics", "in (0, 1]", dynamics)
        expect(len(home) == 7, "home", "7 angles", list(home))
        expect(impedance is None or len(impedance) == 6, "impedance", "6 numbers or None", impedance)
        self._host, self._dynamics, self._home = host, dynamics, tuple(home)
        self._impedance, self._real_time = impedance, real_time
        self._clock = clock or MonotonicClock()
        self._gripper = None if gripper is None else GripperThread(gripper, self._clock)
        self._cameras = dict(cameras or {})
        self._image_size = image_size
        self._franky: Any = None
        self._arm: Any = None
        self._is_stopped = threading.Event()
        self._command_lock = threading.Lock()

    def connect(self) -> RobotInfo:
        """Connect arm, gripper and cameras; the arm does not move (a gripper may, to be activated)."""
        if self._arm is None:
            self._franky = need("franky", INSTALL)
            kind = self._franky.RealtimeConfig
            config = kind.Enforce if self._real_time else kind.Ignore
            self._arm = _ask(
                "arm",
                lambda: self._franky.Robot(
                    self._host, relative_dynamics_factor=self._dynamics, realtime_config=config
                ),
            )
            if self._impedance is not None:
                _ask("arm", lambda: self._arm.set_cartesian_impedance(list(self._impedance or ())))
            if self._gripper is not None:
                self._gripper.start()
            for camera in self._cameras.values():
                camera.start()
        fields = {"proprio": ObservationField((9,)), "joints": ObservationField((7,))}
        size = self._image_size
        for name in self._cameras:
            fields[name] = ObservationField((3, size, size), "uint8", low=0.0, high=255.0)
        width = 0.0 if self._gripper is None else self._gripper.max_width
        return RobotInfo(f"franka {self._host}", fields, width)

    def observe(self) -> Observation:
        """Return the newest state of the arm and the newest readings of gripper and cameras."""
        arm, time = self._connected(), self._clock.now()
        found = _ask("arm", lambda: arm.state)
        position = np.array(found.O_T_EE.translation, dtype=np.float64).reshape(3)
        rotation = np.array(found.O_T_EE.quaternion, dtype=np.float64).reshape(4)
        width = target = 0.0
        if self._gripper is not None:
            gripper = self._gripper.state()
            width, target = gripper.width, gripper.target
        state = RobotState(position, rotation, width, target, time)
        values = {
            "proprio": np.array([*position, *rotation, width, target], dtype=np.float32),
            "joints": np.array(found.q, dtype=np.float32).reshape(7),
        }
        # proprioception is as old as its oldest part
        oldest = time if self._gripper is None else min(time, self._gripper.state().time)
        sensors = {
            "proprio": Reading(values["proprio"], oldest),
            "joints": Reading(values["joints"], time),
            **{name: camera.reading() for name, camera in self._cameras.items()},
        }
        return Observation(sensors, state)

    def command(self, command: Command) -> None:
        """Go on from the measured pose; the control holds the new pose until the next command."""
        arm, franky = self._connected(), self._franky
        pose = _ask("arm", lambda: arm.state).O_T_EE
        rotation = multiply(from_vector(command.rotation), np.array(pose.quaternion).reshape(4))
        target = franky.Affine(
            np.array(pose.translation).reshape(3) + np.asarray(command.translation), rotation
        )
        motion = franky.CartesianMotion(target, franky.ReferenceType.Absolute, return_when_finished=False)
        with self._command_lock:
            # a stop that came in between wins
            if self._is_stopped.is_set():
                raise RobotError("command: expected an arm that runs, got one that was stopped; reset it")
            _ask("arm", lambda: arm.move(motion, asynchronous=True))
        if self._gripper is not None and command.gripper is not None:
            width = min(max(command.gripper, 0.0), self._gripper.max_width)
            if width != self._gripper.state().target:
                self._gripper.move(width)

    def hold(self) -> None:
        """Slow down and stay, under control."""
        arm = self._connected()
        with self._command_lock:
            if not self._is_stopped.is_set() and _ask("arm", lambda: arm.is_in_control):
                _ask("arm", lambda: arm.move(self._franky.CartesianStopMotion(), asynchronous=True))

    def stop(self) -> None:
        """End the control; the arm brakes and stays."""
        self._is_stopped.set()
        arm = self._connected()
        with self._command_lock:
            _ask("arm", arm.stop)
        if self._gripper is not None:
            self._gripper.stop()

    def reset(self) -> None:
        """Recover from errors, open the gripper and go home."""
        arm, franky = self._connected(), self._franky
        self._end_control()
        _ask("arm", arm.recover_from_errors)
        self._is_stopped.clear()
        if self._gripper is not None:
            self._gripper.move(self._gripper.max_width)
        target = franky.JointState(np.array(self._home))
        _ask("arm", lambda: arm.move(franky.JointMotion(target)))
        # a hand that broke off a motion is measured again only after that
        home = self._clock.now()
        while self._gripper is not None and self._gripper.state().time < home:
            if self._clock.now() > home + _END_SECONDS:
                raise RobotError(f"gripper: expected a measurement within {_END_SECONDS} s, got none")
            self._clock.sleep(0.01)
        if self._is_stopped.is_set():
            raise RobotError("reset: expected the arm to reach its start, got a stop on the way")

    def close(self) -> None:
        """Stop, and let go of arm, gripper and cameras."""
        self._is_stopped.set()
        arm, self._arm = self._arm, None
        if arm is None:
            return
        try:
            _ask("arm", arm.stop)
        finally:
            if self._gripper is not None:
                self._gripper.close()
            for camera in self._cameras.values():
                camera.close()

    def _end_control(self) -> None:
        """Stop and wait until no motion is under way: one of another kind cannot begin before."""
        arm, franky = self._connected(), self._franky
        for call in (arm.stop, lambda: arm.join_motion(_END_SECONDS)):
            # how the last motion ended (broken off, say) is told here; a reset forgets it
            with suppress(franky.ControlException):
                call()
        if _ask("arm", lambda: arm.is_in_control):
            raise RobotError(f"arm: expected the last motion to end within {_END_SECONDS} s, got no end")

    def _connected(self) -> Any:
        if self._arm is None:
            raise RobotError("arm: expected a connected one, got one that is not")
        return self._arm


def _ask(what: str, call: Callable[[], Any]) -> Any:
    """Call the library; its errors become a `RobotError`."""
    franky = need("franky", INSTALL)
    try:
        return call()
    except (franky.Exception, RuntimeError) as error:
        raise RobotError(f"{what}: {first_line(error)}") from error
