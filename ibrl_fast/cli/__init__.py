"""The command line, `ibrl-fast COMMAND ...`: one small module per command, imported when it is asked for."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from ibrl_fast import __version__
from ibrl_fast.cli.signals import end_interrupted, ended_by_signals
from ibrl_fast.errors import UserError

COMMANDS = {
    "tasks": "list every task with its dimensions and what it supports",
    "demos": "collect, convert or download demonstrations",
    "view": "make a film, a contact sheet and a table of demonstrations",
    "bc": "train and evaluate an imitation policy",
    "train": "train a hybrid policy; without a preset: the quickstart",
    "resume": "go on with an interrupted run",
    "eval": "evaluate a run or an exported policy",
    "export": "write a run's policy as one file",
    "report": "draw the learning curves of one or several runs",
    "robot": "run a policy on a robot: limits, server, episodes, logs",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command.

    A user's mistake ends with exit status 2 and one message on stderr, no traceback; Ctrl-C with 130 and
    SIGTERM with 143. In every argument a `~` at the start of a path is the home folder.
    """
    with ended_by_signals() as begin:
        arguments = [_expanded(argument) for argument in (sys.argv[1:] if argv is None else argv)]
        if arguments[:1] == ["--version"]:
            print(__version__)
            return
        if not arguments or arguments[0] in ("-h", "--help"):
            print(_usage(), file=sys.stdout if arguments else sys.stderr)
            sys.exit(0 if arguments else 2)
        name = arguments[0]
        if name not in COMMANDS:
            close = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            fail(f"command: expected one of {', '.join(COMMANDS)}, got {name}{hint}")
        try:
            importlib.import_module(f"ibrl_fast.cli.{name}_command").main(arguments[1:], begin)
        except UserError as error:
            fail(str(error) or type(error).__name__)
        except KeyboardInterrupt as error:
            end_interrupted(error)


def _expanded(argument: str) -> str:
    """Replace `~` and `--flag=~` by the home folder, as a shell does for a word that begins with it."""
    flag, separator, value = argument.rpartition("=")
    return flag + separator + os.path.expanduser(value) if flag[:1] in ("", "-") else argument


def fail(message: str) -> None:
    """Print one message and exit with status 2."""
    print(f"ibrl-fast: {message}", file=sys.stderr)
    sys.exit(2)


def _usage() -> str:
    lines = [f"  {name:<8} {text}" for name, text in COMMANDS.items()]
    return "\n".join(["usage: ibrl-fast COMMAND ...  (ibrl-fast COMMAND --help)", "", *lines])
