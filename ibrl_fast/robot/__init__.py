"""From an exported policy to a robot: a control loop that keeps time and stays safe; nothing of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibrl_fast.lazy import lazy_names

if TYPE_CHECKING:
    from ibrl_fast.robot.clock import Clock, ManualClock, MonotonicClock
    from ibrl_fast.robot.mock import Faults, MockRobot
    from ibrl_fast.robot.robot import (
        Command,
        Observation,
        Reading,
        Robot,
        RobotError,
        RobotInfo,
        RobotState,
    )

__all__ = [
    "Clock",
    "Command",
    "Faults",
    "ManualClock",
    "MockRobot",
    "MonotonicClock",
    "Observation",
    "Reading",
    "Robot",
    "RobotError",
    "RobotInfo",
    "RobotState",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ibrl_fast.robot.clock": ("Clock", "ManualClock", "MonotonicClock"),
        "ibrl_fast.robot.mock": ("Faults", "MockRobot"),
        "ibrl_fast.robot.robot": (
            "Command",
            "Observation",
            "Reading",
            "Robot",
            "RobotError",
            "RobotInfo",
            "RobotState",
        ),
    },
)
