"""What came of several runs: each one's result, and the mean over those that finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ibrl_fast.files import write_json
from ibrl_fast.training.group.group_folder import load_group
from ibrl_fast.training.records.metrics import METRICS_NAME
from ibrl_fast.training.records.report import plot_learning_curves, read_run
from ibrl_fast.training.records.result import SUMMARY_NAME, TrainResult, read_summary, summary_values
from ibrl_fast.training.records.run_folder import PICTURE_NAMES

Status = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True)
class RunOutcome:
    """What came of one run.

    Attributes:
        name: of the run and its folder.
        status: `interrupted` stands for runs that never began, too; all but `finished` ones go on when the
            group does.
        result: of a finished run, else None.
        message: what a failed run said.
    """

    name: str
    status: Status
    result: TrainResult | None = None
    message: str = ""


@dataclass(frozen=True)
class GroupResult:
    """What came of several runs.

    Attributes:
        folder: with a folder for each.
        runs: in their order.
        stopped_by: the signal that stopped them; None where none did.
    """

    folder: Path
    runs: tuple[RunOutcome, ...]
    stopped_by: int | None = None

    @property
    def failed(self) -> tuple[RunOutcome, ...]:
        """The runs that failed."""
        return tuple(run for run in self.runs if run.status == "failed")

    @property
    def interrupted(self) -> bool:
        """Whether a run was stopped, or did not begin, because of a signal."""
        return any(run.status == "interrupted" for run in self.runs)

    @property
    def results(self) -> tuple[TrainResult, ...]:
        """Of the runs that finished."""
        return tuple(run.result for run in self.runs if run.result is not None)

    @property
    def success_rates(self) -> tuple[float, ...]:
        """Of the final policies of the runs that finished."""
        return tuple(result.success_rate for result in self.results if result.success_rate is not None)


def finished_result(run_dir: Path) -> TrainResult | None:
    """Return the result of a run folder; None where the run has not come to its end."""
    return read_summary(run_dir) if (run_dir / SUMMARY_NAME).is_file() else None


def begun_runs(folder: Path) -> list[Path]:
    """Return the folders of the runs of a group that have records."""
    runs = load_group(folder).values()
    return [config.run_dir for config in runs if (config.run_dir / METRICS_NAME).is_file()]


def interquartile_mean(values: Sequence[float]) -> float:
    """Return the mean of the middle half (Agarwal et al. 2021), values at its ends counted in part.

    Args:
        values: at least one.
    """
    count = len(values)
    # value i, in order, covers [i, i + 1] of [0, count]; the middle half is [count / 4, 3 count / 4]
    places = np.arange(count)
    inside = np.minimum(places + 1, 0.75 * count) - np.maximum(places, 0.25 * count)
    weights = np.clip(inside, 0.0, None)
    return float(np.sort(np.asarray(values, dtype=float)) @ weights / weights.sum())


def write_outcome(group: GroupResult) -> list[Path]:
    """Write summary.json and, where a run finished, the learning curve of all that did.

    Returns:
        The files.
    """
    rates = group.success_rates
    values: dict[str, Any] = {"runs": [_plain(run) for run in group.runs]}
    if rates:
        values["success_rate"] = {
            "mean": float(np.mean(rates)),
            "lowest": min(rates),
            "highest": max(rates),
            "interquartile_mean": interquartile_mean(rates),
            "runs": len(rates),
        }
    path = group.folder / SUMMARY_NAME
    write_json(path, values)
    if not rates:
        return [path]
    records = [read_run(result.run_dir) for result in group.results]
    return [path, plot_learning_curves(records, group.folder / PICTURE_NAMES[0])]


def _plain(run: RunOutcome) -> dict[str, Any]:
    values: dict[str, Any] = {"name": run.name, "status": run.status}
    if run.message:
        values["message"] = run.message
    return values if run.result is None else {**values, **summary_values(run.result)}
