"""What the commands share about several runs: their folder, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ibrl_fast.cli.run import is_free, percent
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.group.group_folder import holds

if TYPE_CHECKING:
    from ibrl_fast.training.group.outcome import GroupResult


def in_group_folder(folder: Path, configs: Mapping[str, TrainConfig]) -> Path:
    """Return the folder, or `NAME_2`, `NAME_3`, ... where others lie there; one of the same runs goes on."""
    candidate, number = folder, 1
    while not is_free(candidate) and not holds(candidate, configs):
        number += 1
        candidate = folder.with_name(f"{folder.name}_{number}")
    return candidate


def finish_group(group: GroupResult) -> None:
    """Print what came of all runs; exit with 1 if one failed, after a signal as the shell counts it."""
    print_group(group)
    if any(run.status != "finished" for run in group.runs):
        print(f"not all finished; go on with: ibrl-fast resume {group.folder}")
        sys.exit(1 if group.stopped_by is None else 128 + group.stopped_by)


def print_group(group: GroupResult) -> None:
    """Print a table of the runs, of their mean and interquartile mean (IQM), and what the folder holds."""
    from rich.console import Console
    from rich.table import Table

    from ibrl_fast.training.group.outcome import interquartile_mean

    table = Table(title=str(group.folder))
    for column in ("run", "BC", "final policy", "95% interval", "steps", "policy of", "seconds"):
        table.add_column(column)
    for run in group.runs:
        result = run.result
        if result is None:
            table.add_row(run.name, run.status)
            continue
        table.add_row(
            run.name,
            percent(result.bc_success_rate),
            percent(result.success_rate),
            f"{percent(result.success_low)[:-1]}-{percent(result.success_high)}",
            str(result.env_steps),
            str(result.policy_env_steps),
            f"{result.wall_seconds:.0f}",
        )
    rates = group.success_rates
    if len(rates) > 1:
        table.add_section()
        mean = percent(sum(rates) / len(rates))
        table.add_row("mean", "", mean, f"all {percent(min(rates))[:-1]}-{percent(max(rates))}")
        table.add_row("IQM", "", percent(interquartile_mean(rates)))
    console = Console(highlight=False)
    console.print(table)
    for run in group.failed:
        console.print(f"{run.name} failed: {run.message}", soft_wrap=True, markup=False)
    for path in sorted(group.folder.iterdir()):
        if path.suffix in (".png", ".json", ".log"):
            console.print(f"  {path}", soft_wrap=True)
