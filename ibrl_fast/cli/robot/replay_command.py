"""`ibrl-fast robot replay RECORDING --policy FILE`: recorded episodes through a policy again."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.cli.run import check_exists


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Replay and print the differences; `begin` is called where the work starts."""
    tyro.cli(functools.partial(replay, begin), args=arguments, prog="ibrl-fast robot replay")


def replay(begin: Callable[[], None], recording: Annotated[Path, tyro.conf.Positional], policy: Path) -> None:
    """Ask a policy what it was asked on the robot; exit with 1 where an answer differs in any bit.

    Args:
        recording: a recorder's folder, or one file of it.
        policy: an exported policy, the one that ran or another.
    """
    check_exists("recording", recording, "a recorder's folder, or one file of it")
    check_exists("policy", policy, "an exported policy")

    from ibrl_fast.deploy import load_policy
    from ibrl_fast.robot.recording import recorded_files
    from ibrl_fast.robot.replay import replay_episode

    begin()
    loaded = load_policy(policy)
    is_equal = True
    for path in recorded_files(recording):
        result = replay_episode(path, loaded)
        is_equal &= result.is_equal
        print(f"{path.name}: {result.report()}")
    sys.exit(0 if is_equal else 1)
