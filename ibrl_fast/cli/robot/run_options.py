"""What `ibrl-fast robot run` may be told of robot, switches, success and recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ibrl_fast.errors import expect

if TYPE_CHECKING:
    from ibrl_fast.deploy import Policy
    from ibrl_fast.robot import RobotClient, SafetyLimits, Switch
    from ibrl_fast.robot.episode import Mode


@dataclass(frozen=True)
class RunOptions:
    """Options of a run on a robot."""

    robot: str = "remote"
    """`remote` (a server), `mock`, or `module:function` of what makes one."""
    address: str = "tcp://127.0.0.1:5757"
    """Of the server."""
    token_file: Path | None = None
    """File with what the server asks for."""
    rate_hz: float = 10.0
    """Commands per second."""
    max_steps: int = 150
    """Steps until an episode is given up."""
    max_age: float = 0.2
    """Oldest reading that is acted on, s."""
    max_holds: int = 3
    """Holds in a row after which the next one stops the robot."""
    success: Literal["none", "lift", "drawer", "hang"] = "none"
    """Detector of success."""
    camera: str | None = None
    """Camera of the detectors `drawer` and `hang`."""
    line: int | None = None
    """Row of the image that the cloth of `hang` must reach."""
    stop_file: Path | None = None
    """File that stops the robot while it exists."""
    dead_man: float | None = None
    """Longest time between two keys (hold one down), s; None: keys only stop."""
    keyboard: bool = False
    """Take stops from the keyboard: space, s, q, escape."""
    record: Path | None = None
    """Folder for the episodes; None: they are not kept."""


def make_client(policy: Policy, limits: SafetyLimits, mode: Mode, options: RunOptions) -> RobotClient:
    """Make the client that the options describe."""
    from ibrl_fast.robot import KeyboardSwitch, RobotClient, StopFile
    from ibrl_fast.robot.adapters import make_robot
    from ibrl_fast.robot.recording import EpisodeRecorder
    from ibrl_fast.robot.remote import RemoteRobot
    from ibrl_fast.robot.server import read_token
    from ibrl_fast.robot.success import DETECTORS

    given = {
        name: value
        for name, value in (("camera", options.camera), ("line", options.line))
        if value is not None
    }
    needed = {"drawer": {"camera"}, "hang": {"camera", "line"}}.get(options.success, set())
    expect(set(given) == needed, "success", f"{options.success} with {sorted(needed)}", sorted(given))
    expect(
        options.keyboard or options.dead_man is None, "dead_man", "None without keyboard", options.dead_man
    )

    token = None if options.token_file is None else read_token(options.token_file)
    is_remote = options.robot == "remote"
    robot = RemoteRobot(options.address, token=token) if is_remote else make_robot(options.robot)
    switches: list[Switch] = [] if options.stop_file is None else [StopFile(options.stop_file)]
    if options.keyboard:
        switches.append(KeyboardSwitch(alive_within=options.dead_man))
    return RobotClient(
        robot,
        policy,
        options.rate_hz,
        safety=limits,
        success=None if options.success == "none" else DETECTORS[options.success](**given),
        switches=switches,
        mode=mode,
        max_steps=options.max_steps,
        max_age=options.max_age,
        max_holds=options.max_holds,
        recorder=None if options.record is None else EpisodeRecorder(options.record),
    )
