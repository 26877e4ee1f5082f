"""From an exported policy to a robot: a control loop that keeps time and stays safe; nothing of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibrl_fast.lazy import lazy_names

if TYPE_CHECKING:
    from ibrl_fast.robot.actions import ActionMap
    from ibrl_fast.robot.bounds import learn_limits
    from ibrl_fast.robot.client import RobotClient
    from ibrl_fast.robot.clock import Clock, ManualClock, MonotonicClock
    from ibrl_fast.robot.episode import Episode, Step
    from ibrl_fast.robot.limits import SafetyLimits, read_limits, write_limits
    from ibrl_fast.robot.mock import Faults, MockRobot
    from ibrl_fast.robot.realtime import real_time
    from ibrl_fast.robot.regions import Box, Cylinder
    from ibrl_fast.robot.robot import (
        Command,
        Observation,
        Reading,
        Robot,
        RobotError,
        RobotInfo,
        RobotState,
    )
    from ibrl_fast.robot.safety import Filtered, Intervention, MotionHistory, filter_command
    from ibrl_fast.robot.switches import DeadManFile, KeyboardSwitch, SocketSwitch, StopFile, Switch
    from ibrl_fast.robot.timing import StepTimes

_HOMES = {
    "actions": ("ActionMap",),
    "bounds": ("learn_limits",),
    "client": ("RobotClient",),
    "clock": ("Clock", "ManualClock", "MonotonicClock"),
    "episode": ("Episode", "Step"),
    "limits": ("SafetyLimits", "read_limits", "write_limits"),
    "mock": ("Faults", "MockRobot"),
    "realtime": ("real_time",),
    "regions": ("Box", "Cylinder"),
    "robot": ("Command", "Observation", "Reading", "Robot", "RobotError", "RobotInfo", "RobotState"),
    "safety": ("Filtered", "Intervention", "MotionHistory", "filter_command"),
    "switches": ("DeadManFile", "KeyboardSwitch", "SocketSwitch", "StopFile", "Switch"),
    "timing": ("StepTimes",),
}

__all__ = [
    "ActionMap",
    "Box",
    "Clock",
    "Command",
    "Cylinder",
    "DeadManFile",
    "Episode",
    "Faults",
    "Filtered",
    "Intervention",
    "KeyboardSwitch",
    "ManualClock",
    "MockRobot",
    "MonotonicClock",
    "MotionHistory",
    "Observation",
    "Reading",
    "Robot",
    "RobotClient",
    "RobotError",
    "RobotInfo",
    "RobotState",
    "SafetyLimits",
    "SocketSwitch",
    "Step",
    "StepTimes",
    "StopFile",
    "Switch",
    "filter_command",
    "learn_limits",
    "read_limits",
    "real_time",
    "write_limits",
]

__getattr__, __dir__ = lazy_names(
    __name__, {f"{__name__}.{module}": names for module, names in _HOMES.items()}
)
