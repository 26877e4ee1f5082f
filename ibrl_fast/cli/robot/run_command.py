"""`ibrl-fast robot run POLICY --limits FILE`: episodes of an exported policy on a robot."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ibrl_fast.cli.robot.run_options import RunOptions, make_client
from ibrl_fast.cli.run import check_exists


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Run episodes; `begin` is called where the work starts."""
    tyro.cli(functools.partial(run, begin), args=arguments, prog="ibrl-fast robot run")


def run(
    begin: Callable[[], None],
    policy: Annotated[Path, tyro.conf.Positional],
    limits: Path,
    options: Annotated[RunOptions, tyro.conf.arg(name="")],
    episodes: int = 1,
    mode: Literal["run", "dry", "shadow"] = "run",
    priority: int | None = None,
    core: int | None = None,
    lock_memory: bool = False,
) -> None:
    """Run episodes of a policy on a robot; the first that ends with a stop or a fault is the last.

    Args:
        policy: an exported policy.
        limits: the file of safety limits.
        options: robot, switches, success, recording.
        episodes: how many.
        mode: `run`; `dry`: everything but motion; `shadow`: somebody else moves the robot.
        priority: real-time priority of the loop (SCHED_FIFO), 1 to 99.
        core: core for the loop alone.
        lock_memory: keep all memory in RAM.
    """
    check_exists("policy", policy, "an exported policy")
    check_exists("limits", limits, "a file of safety limits")

    from ibrl_fast.deploy import load_policy
    from ibrl_fast.robot.limits import read_limits
    from ibrl_fast.robot.realtime import real_time

    begin()
    client = make_client(load_policy(policy), read_limits(limits), mode, options)
    try:
        with real_time(priority, core, lock_memory=lock_memory) as messages:
            for message in messages:
                print(message)
            for number in range(episodes):
                client.arm()
                episode = client.run_episode()
                print(f"episode {number}: {episode.report(client.period)}", flush=True)
                if not client.is_armed:
                    raise SystemExit(1)
    finally:
        client.close()
