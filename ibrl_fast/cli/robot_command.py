"""`ibrl-fast robot SUBCOMMAND ...`: limits, the server of the hardware, episodes, logs."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Sequence

from ibrl_fast.errors import ArgumentError

SUBCOMMANDS = {
    "bounds": "learn safety limits from demonstrations",
    "serve": "own the hardware and answer one client in control",
    "run": "run episodes of an exported policy",
    "replay": "ask a policy again what it was asked on the robot",
    "report": "draw a page about recorded episodes",
    "join": "write recorded episodes as one file of demonstrations",
}


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Run one subcommand; `begin` is called where the work starts."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {name:<8} {text}" for name, text in SUBCOMMANDS.items()]
        usage = "usage: ibrl-fast robot SUBCOMMAND ...  (ibrl-fast robot SUBCOMMAND --help)"
        print("\n".join([usage, "", *lines]), file=sys.stdout if arguments else sys.stderr)
        sys.exit(0 if arguments else 2)
    name = arguments[0]
    if name not in SUBCOMMANDS:
        close = difflib.get_close_matches(name, SUBCOMMANDS, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ArgumentError(f"robot: expected one of {', '.join(SUBCOMMANDS)}, got {name}{hint}")
    importlib.import_module(f"ibrl_fast.cli.robot.{name}_command").main(arguments[1:], begin)
