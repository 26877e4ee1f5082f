"""What the commands that train have in common: run, and say what came out."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from ibrl_fast.training.result import TrainResult
from ibrl_fast.training.trainer import Trainer


def finish(trainer: Trainer) -> TrainResult:
    """Runs to the end; an interrupted run exits with status 130 after saving."""
    result = trainer.run()
    if result.interrupted:
        print(f"interrupted; go on with: ibrl-fast resume {result.run_dir}")
        sys.exit(130)
    return result


def print_result(result: TrainResult) -> None:
    """A table of success rates, and what the run folder holds."""
    table = Table(title=f"after {result.env_steps} environment steps and {result.wall_seconds:.0f} s")
    for column in ("policy", "success", "95% interval"):
        table.add_column(column)
    if result.bc_success_rate is not None:
        table.add_row("imitation (BC)", f"{100 * result.bc_success_rate:.0f}%", "")
    if result.success_rate is not None and result.success_low is not None and result.success_high is not None:
        interval = f"{100 * result.success_low:.0f}-{100 * result.success_high:.0f}%"
        table.add_row("final policy", f"{100 * result.success_rate:.0f}%", interval)
    console = Console(highlight=False)
    console.print(table)
    for path in sorted(result.run_dir.iterdir()):
        if path.suffix in (".png", ".mp4", ".pt", ".json", ".jsonl", ".hdf5"):
            console.print(f"  {path}", soft_wrap=True)
