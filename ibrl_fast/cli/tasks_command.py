"""`ibrl-fast tasks [SUITE]`: every task with its facts, without building an environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from rich.table import Table

    from ibrl_fast.envs.task_facts import TaskFacts

ABILITIES = ("expert", "native", "saves_state", "seeds", "parallel", "fixes_goals")
LETTERS = "ENSRPG"
LEGEND = """E: scripted expert for demonstrations   N: in the C++ pool
S: its state is saved and restored      R: an episode repeats from its seed
P: several environments at a time       G: one start and goal can be kept
"""


def main(arguments: Sequence[str], begin: Callable[[], None]) -> None:
    """Print the list."""
    tyro.cli(tasks, args=arguments, prog="ibrl-fast tasks")


def tasks(
    suite: Annotated[str | None, tyro.conf.Positional] = None,
    json_: Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """List every task: its suite, dimensions, control period, cameras and abilities.

    Args:
        suite: only the tasks of this suite.
        json_: print a JSON list instead of tables.
    """
    from ibrl_fast.envs.task_facts import ANY_GYMNASIUM, task_facts

    facts = task_facts(suite)
    if json_:
        print(json.dumps([asdict(task) for task in facts], indent=2))
        return

    from rich.console import Console

    console = Console(highlight=False)
    for name, members in groupby(facts, key=lambda task: task.suite):
        console.print(_table(name, list(members)))
    console.print(LEGEND, markup=False)
    console.print(f"Any Gymnasium environment is a task as well: {ANY_GYMNASIUM}", markup=False)


def _table(name: str, members: list[TaskFacts]) -> Table:
    """Return the tasks of one suite, in 80 columns where its names are of common length."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    first = members[0]
    lack = f"needs {', '.join(first.missing)}: {first.install}" if first.missing else "installed"
    title = f"{name}/TASK, {len(members)} ({lack})"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("task", overflow="fold")
    for column in ("state", "proprio", "action", "period"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("cameras", overflow="fold")
    table.add_column("can", no_wrap=True)
    for task in members:
        sizes = [str(task.observations.get(key, "-")) for key in ("state", "proprio")] + [
            str(task.action_dim)
        ]
        letters = "".join(letter for letter, ability in zip(LETTERS, ABILITIES) if getattr(task, ability))
        period = f"{1000 * task.control_period:g} ms" if task.control_period else "-"
        cameras = ", ".join(task.cameras) or "-"
        table.add_row(task.name.removeprefix(f"{name}/"), *sizes, period, cameras, letters)
    return table
