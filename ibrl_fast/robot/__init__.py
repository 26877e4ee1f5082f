"""From an exported policy to a robot: a control loop that keeps time and stays safe; nothing of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibrl_fast.lazy import lazy_names

if TYPE_CHECKING:
    from ibrl_fast.robot.actions import ActionMap
    from ibrl_fast.robot.adapters.franka import FrankaHand, FrankaRobot
    from ibrl_fast.robot.adapters.robotiq import RobotiqGripper
    from ibrl_fast.robot.bounds import learn_limits
    from ibrl_fast.robot.cameras import CameraThread, OpenCVSource, PlaybackSource
    from ibrl_fast.robot.client import RobotClient
    from ibrl_fast.robot.clock import Clock, ManualClock, MonotonicClock
    from ibrl_fast.robot.episode import Episode, Step
    from ibrl_fast.robot.gripper import Gripper, GripperState, GripperThread
    from ibrl_fast.robot.limits import SafetyLimits, read_limits, write_limits
    from ibrl_fast.robot.mock import Faults, MockRobot
    from ibrl_fast.robot.realtime import real_time
    from ibrl_fast.robot.recording import EpisodeLog, EpisodeRecorder, join_episodes, read_log
    from ibrl_fast.robot.regions import Box, Cylinder
    from ibrl_fast.robot.remote import ClientKeys, RemoteRobot
    from ibrl_fast.robot.replay import Replay, replay_episode
    from ibrl_fast.robot.report import write_report
    from ibrl_fast.robot.robot import (
        BoundaryError,
        Command,
        Observation,
        Reading,
        Robot,
        RobotError,
        RobotInfo,
        RobotState,
    )
    from ibrl_fast.robot.safety import Filtered, Intervention, MotionHistory, filter_command
    from ibrl_fast.robot.server import CurveKeys, RobotServer
    from ibrl_fast.robot.success import DrawerSuccess, HangSuccess, LiftSuccess
    from ibrl_fast.robot.switches import DeadManFile, KeyboardSwitch, SocketSwitch, StopFile, Switch
    from ibrl_fast.robot.timing import StepTimes

_HOMES = {
    "actions": ("ActionMap",),
    "adapters.franka": ("FrankaHand", "FrankaRobot"),
    "adapters.robotiq": ("RobotiqGripper",),
    "bounds": ("learn_limits",),
    "cameras": ("CameraThread", "OpenCVSource", "PlaybackSource"),
    "client": ("RobotClient",),
    "clock": ("Clock", "ManualClock", "MonotonicClock"),
    "episode": ("Episode", "Step"),
    "gripper": ("Gripper", "GripperState", "GripperThread"),
    "limits": ("SafetyLimits", "read_limits", "write_limits"),
    "mock": ("Faults", "MockRobot"),
    "realtime": ("real_time",),
    "recording": ("EpisodeLog", "EpisodeRecorder", "join_episodes", "read_log"),
    "regions": ("Box", "Cylinder"),
    "remote": ("ClientKeys", "RemoteRobot"),
    "replay": ("Replay", "replay_episode"),
    "report": ("write_report",),
    "robot": (
        "BoundaryError",
        "Command",
        "Observation",
        "Reading",
        "Robot",
        "RobotError",
        "RobotInfo",
        "RobotState",
    ),
    "safety": ("Filtered", "Intervention", "MotionHistory", "filter_command"),
    "server": ("CurveKeys", "RobotServer"),
    "success": ("DrawerSuccess", "HangSuccess", "LiftSuccess"),
    "switches": ("DeadManFile", "KeyboardSwitch", "SocketSwitch", "StopFile", "Switch"),
    "timing": ("StepTimes",),
}

__all__ = [
    "ActionMap",
    "BoundaryError",
    "Box",
    "CameraThread",
    "ClientKeys",
    "Clock",
    "Command",
    "CurveKeys",
    "Cylinder",
    "DeadManFile",
    "DrawerSuccess",
    "Episode",
    "EpisodeLog",
    "EpisodeRecorder",
    "Faults",
    "Filtered",
    "FrankaHand",
    "FrankaRobot",
    "Gripper",
    "GripperState",
    "GripperThread",
    "HangSuccess",
    "Intervention",
    "KeyboardSwitch",
    "LiftSuccess",
    "ManualClock",
    "MockRobot",
    "MonotonicClock",
    "MotionHistory",
    "Observation",
    "OpenCVSource",
    "PlaybackSource",
    "Reading",
    "RemoteRobot",
    "Replay",
    "Robot",
    "RobotClient",
    "RobotError",
    "RobotInfo",
    "RobotServer",
    "RobotState",
    "RobotiqGripper",
    "SafetyLimits",
    "SocketSwitch",
    "Step",
    "StepTimes",
    "StopFile",
    "Switch",
    "filter_command",
    "join_episodes",
    "learn_limits",
    "read_limits",
    "read_log",
    "real_time",
    "replay_episode",
    "write_limits",
    "write_report",
]

__getattr__, __dir__ = lazy_names(
    __name__, {f"{__name__}.{module}": names for module, names in _HOMES.items()}
)
