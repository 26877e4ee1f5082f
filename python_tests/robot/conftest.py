"""A mock robot, and a server of it whose watchdog is patient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from robot_helpers import FREE, LIMITS

from ibrl_fast.robot import MockRobot

if TYPE_CHECKING:
    from ibrl_fast.robot import RobotServer


@pytest.fixture
def robot() -> MockRobot:
    """A robot with the real clock."""
    return MockRobot(seed=1)


@pytest.fixture
def server(robot: MockRobot) -> Iterator[RobotServer]:
    """A server that waits for long before it takes a client for silent."""
    from ibrl_fast.robot import RobotServer

    with RobotServer(
        robot, LIMITS, address=FREE, hold_after=20.0, stop_after=40.0, max_command_age=30.0
    ) as server:
        yield server
    assert robot.is_stopped
