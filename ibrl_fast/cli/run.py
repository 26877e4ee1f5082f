"""What the commands share: paths that must exist, running to the end, printing the result."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ibrl_fast.errors import ArgumentError, first_line
from ibrl_fast.training.config import ImitationConfig

if TYPE_CHECKING:
    from ibrl_fast.training.base_trainer import BaseTrainer
    from ibrl_fast.training.records.result import TrainResult

AnyConfig = TypeVar("AnyConfig", bound=ImitationConfig)


def check_exists(name: str, path: Path, expected: str) -> None:
    """Raise ArgumentError where nothing lies at a path, before anything slow is imported."""
    if not path.exists():
        raise ArgumentError(f"{name}: expected {expected}, got {path}")


def load_function(name: str, place: str) -> Callable[..., Any]:
    """Import a function of the user's, given as `MODULE:FUNCTION`.

    Raises:
        ArgumentError: no such module, or no such function in it.
    """
    module, _, function = place.partition(":")
    expected = "MODULE:FUNCTION that can be imported"
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ArgumentError(f"{name}: expected {expected}, got {place} ({first_line(error)})") from error
    if not callable(found):
        raise ArgumentError(f"{name}: expected {expected}, got {place}, a {type(found).__name__}")
    return found


def in_fresh_folder(config: AnyConfig) -> AnyConfig:
    """Return the run in its folder, or in `NAME_2`, `NAME_3`, ... where a run lies there already."""
    folder = config.resolved_run_dir()
    candidate, number = folder, 1
    while not is_free(candidate):
        number += 1
        candidate = folder.with_name(f"{folder.name}_{number}")
    return replace(config, run_dir=candidate)


def is_free(folder: Path) -> bool:
    """Whether nothing lies at a path, or an empty folder."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def percent(rate: float | None) -> str:
    """Return a rate in words; empty where there is none."""
    return "" if rate is None else f"{100 * rate:.0f}%"


def finish(trainer: BaseTrainer) -> TrainResult:
    """Run to the end; a run that a signal stopped exits with the shell's number for it, after saving."""
    result = trainer.run()
    if result.interrupted:
        print(f"interrupted; go on with: ibrl-fast resume {result.run_dir}")
        sys.exit(128 + (trainer.stopped_by or 0))
    return result


def print_result(result: TrainResult) -> None:
    """Print a table of success rates, and what the run folder holds."""
    from rich.console import Console
    from rich.table import Table

    steps = f"{result.env_steps} environment steps"
    if result.policy_env_steps != result.env_steps:
        steps += f" (final policy: of {result.policy_env_steps})"
    table = Table(title=f"after {steps} and {result.wall_seconds:.0f} s")
    for column in ("policy", "success", "95% interval"):
        table.add_column(column)
    if result.bc_success_rate is not None:
        table.add_row("imitation (BC)", percent(result.bc_success_rate), "")
    if result.success_rate is not None:
        interval = f"{percent(result.success_low)[:-1]}-{percent(result.success_high)}"
        table.add_row("final policy", percent(result.success_rate), interval)
    console = Console(highlight=False)
    console.print(table)
    for path in sorted(result.run_dir.iterdir()):
        if path.suffix in (".png", ".mp4", ".pt", ".json", ".jsonl", ".hdf5"):
            console.print(f"  {path}", soft_wrap=True)
