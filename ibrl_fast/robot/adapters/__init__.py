"""Robots by name: the mock, or whatever a function of one's own makes."""

from __future__ import annotations

import pkgutil
from typing import Any

from ibrl_fast.errors import ArgumentError, first_line
from ibrl_fast.robot.robot import Robot


def make_robot(name: str) -> Robot:
    """Make a robot that is not connected yet.

    Args:
        name: `mock`, or `module:function` (or class) of what is called without arguments.

    Raises:
        ArgumentError: nothing of that name, or what it makes is no robot.
    """
    target = {"mock": "ibrl_fast.robot.mock:MockRobot"}.get(name, name)
    if ":" not in target:
        raise ArgumentError(f"robot: expected mock or module:function, got {name}")
    try:
        maker: Any = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise ArgumentError(f"robot: expected mock or module:function, got {first_line(error)}") from error
    robot = maker()
    if not isinstance(robot, Robot):
        raise ArgumentError(f"robot: expected what {name} makes to be a robot, got {type(robot).__name__}")
    return robot
