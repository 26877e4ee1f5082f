"""`ibrl-fast robot serve`: own the hardware and answer one client in control."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import tyro

from ibrl_fast.cli.run import check_exists
from ibrl_fast.errors import expect


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Serve until Ctrl-C; `begin` is called where the work starts."""
    tyro.cli(functools.partial(serve, begin), args=arguments, prog="ibrl-fast robot serve")


def serve(
    begin: Callable[[], None],
    limits: Path,
    robot: str = "mock",
    address: str = "tcp://127.0.0.1:5757",
    token_file: Path | None = None,
    curve_secret: Path | None = None,
    curve_clients: Path | None = None,
    hold_after: float = 0.3,
    stop_after: float = 1.0,
    priority: int | None = None,
    core: int | None = None,
) -> None:
    """Serve a robot until Ctrl-C; then it is stopped.

    Args:
        limits: the file of safety limits (`ibrl-fast robot bounds`), asked again for every command.
        robot: `mock`, or `module:function` of what makes one (docs/robot.md).
        address: `tcp://HOST:PORT` or `ipc://PATH`; beyond this machine a token or keys are needed.
        token_file: file with what clients must bring, readable by its owner alone.
        curve_secret: the server's secret CURVE key file.
        curve_clients: folder with the public keys of the clients that are let in.
        hold_after: silence of the client after which the robot holds, s.
        stop_after: silence after which it is stopped, s.
        priority: real-time priority of the server (SCHED_FIFO), 1 to 99.
        core: core for the server alone.
    """
    check_exists("limits", limits, "a file of safety limits")
    keys = (curve_secret is None) == (curve_clients is None)
    expect(keys, "curve_clients", "both curve_secret and curve_clients, or neither", curve_clients)

    from ibrl_fast.robot.adapters import make_robot
    from ibrl_fast.robot.limits import read_limits
    from ibrl_fast.robot.realtime import real_time
    from ibrl_fast.robot.server import CurveKeys, RobotServer, read_token

    def say(line: str) -> None:
        print(line, flush=True)

    server = RobotServer(
        make_robot(robot),
        read_limits(limits),
        address=address,
        token=None if token_file is None else read_token(token_file),
        curve=CurveKeys(curve_secret, curve_clients) if curve_secret and curve_clients else None,
        hold_after=hold_after,
        stop_after=stop_after,
        say=say,
    )
    begin()
    with real_time(priority, core) as messages:
        for message in messages:
            say(message)
        server.run()
