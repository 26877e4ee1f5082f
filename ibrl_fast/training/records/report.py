"""Pictures and a summary of one or several runs, made from what their folders hold.

Runs that differ only in their seed are one curve: the mean over seeds and, as a band, the lowest to the
highest seed. A single run's band is the 95% Wilson interval of its evaluation episodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ibrl_fast.agents.methods import METHODS
from ibrl_fast.errors import ArgumentError
from ibrl_fast.files import read_json
from ibrl_fast.training.config_file import CONFIG_NAME
from ibrl_fast.training.records.metrics import read_metrics
from ibrl_fast.training.records.pictures import new_figure, save_figure

# One colour per method in the order of their table, the same in every picture (colour-blind safe)
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
METHOD_COLORS = dict(zip(METHODS, COLORS, strict=False))
BC_COLOR = "#666666"


@dataclass(frozen=True)
class RunRecord:
    """What `report` knows of one run: its label and its metrics."""

    path: Path
    task: str
    method: str
    seed: int
    label: str
    metrics: list[dict[str, Any]]

    @property
    def has_training(self) -> bool:
        """Whether there was reinforcement learning after imitation."""
        return any(record["kind"] == "train" for record in self.metrics)

    def series(self, kind: str, key: str) -> tuple[np.ndarray, np.ndarray]:
        """All (env_steps [M], value [M]) of one metric of one kind of record, in the order of the file."""
        points = [
            (record["env_steps"], record[key])
            for record in self.metrics
            if record["kind"] == kind and record.get(key) is not None
        ]
        steps, values = zip(*points, strict=True) if points else ((), ())
        return np.asarray(steps, dtype=float), np.asarray(values, dtype=float)


def read_run(path: Path) -> RunRecord:
    """Read a run folder.

    Raises:
        ValueError: the folder holds no config.json or no metrics.
        FileError: one of them cannot be read or is damaged.
    """
    path = Path(path)
    config_path = path / CONFIG_NAME
    if not config_path.is_file():
        raise ArgumentError(f"run: expected a run folder with {CONFIG_NAME}, got {path}")
    config = read_json(config_path)
    try:
        task, method, seed = config["env"]["task"], config["method"], config["seed"]
        label = config.get("label") or method
        if not isinstance(seed, int) or not all(isinstance(text, str) for text in (task, method, label)):
            raise TypeError("other types")
    except (KeyError, TypeError) as error:
        raise ArgumentError(
            f"{config_path}: expected a run's configuration, got one without its task, method "
            f"or seed ({error})"
        ) from error
    metrics = read_metrics(path)
    if not metrics:
        raise ArgumentError(f"run {path}: expected metrics in metrics.jsonl, got none")
    return RunRecord(path, task, method, seed, label, metrics)


def plot_learning_curves(runs: Sequence[RunRecord], out: Path) -> Path:
    """One panel per task: success rate against environment steps, one curve per label, BC as a dashed line.

    Args:
        runs: of any tasks, methods and seeds.
        out: the PNG to write.
    """
    tasks = sorted({run.task for run in runs})
    columns = min(2, len(tasks))
    rows = -(-len(tasks) // columns)
    figure, axes = new_figure(rows, columns, size=(6.0 * columns, 3.8 * rows))
    for axis, task in zip(axes.flat, tasks, strict=False):
        _plot_task(axis, [run for run in runs if run.task == task])
        axis.set_title(task)
    for axis in list(axes.flat)[len(tasks) :]:
        axis.set_axis_off()
    return save_figure(figure, out, dpi=130)


def _plot_task(axis: Axes, runs: list[RunRecord]) -> None:
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for run in runs:
        groups[run.label].append(run)

    # One curve per label
    spare_colors = iter(color for color in COLORS if color not in map(METHOD_COLORS.get, groups))
    for label, members in sorted(groups.items()):
        color = METHOD_COLORS.get(label) or next(spare_colors, "#333333")
        steps, mean, low, high = _mean_and_band(members, "success_rate")
        seeds = f"{len(members)} seeds" if len(members) > 1 else f"seed {members[0].seed}"
        axis.plot(steps, mean, color=color, marker="o", markersize=3, label=f"{label} ({seeds})")
        axis.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)

        # Behind a deployment gate: what the hybrid policy would have done
        steps, mean, _, _ = _mean_and_band(members, "hybrid_success_rate")
        if len(steps):
            axis.plot(steps, mean, color=color, linestyle=":", label=f"{label} without its gate")

    # The imitation policy that the runs started from
    bc_rates = [rate for run in runs for rate in run.series("bc", "success_rate")[1][-1:]]
    if bc_rates:
        axis.axhline(float(np.mean(bc_rates)), color=BC_COLOR, linestyle="--", label="BC (start)")
    axis.set_xlabel("environment steps")
    axis.set_ylabel("success rate")
    axis.set_ylim(-0.03, 1.03)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize=8)


def _mean_and_band(
    members: list[RunRecord], key: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Step, mean, lower and upper bound of one evaluation metric, each [M]."""
    if len(members) == 1:
        steps, rate = members[0].series("eval", key)
        bounds = [members[0].series("eval", bound)[1] for bound in ("success_low", "success_high")]
        return steps, rate, bounds[0], bounds[1]

    # A point wants every seed; a finished run keeps its last value, so that its end does not cut the curve
    curves = [dict(zip(*run.series("eval", key), strict=True)) for run in members]
    if not all(curves):
        return np.empty(0), np.empty(0), np.empty(0), np.empty(0)
    ends = [
        max(curve) if len(run.series("summary", "success_rate")[0]) else np.inf
        for run, curve in zip(members, curves, strict=True)
    ]
    shared = [
        step
        for step in sorted(set().union(*curves))
        if all(step in curve or step > end for curve, end in zip(curves, ends, strict=True))
    ]
    rows = [[curve.get(step, curve[max(curve)]) for step in shared] for curve in curves]
    values = np.array(rows).reshape(len(curves), len(shared))
    return np.asarray(shared), values.mean(0), values.min(0), values.max(0)


def plot_training_curves(run: RunRecord, out: Path) -> Path:
    """Losses, Q values, share of IL actions and throughput of one run, as PNG."""
    panels = [
        ("critic loss", ["critic_loss"]),
        ("Q values", ["q_mean", "target_mean"]),
        ("share of IL actions", ["il_share_act", "il_share_bootstrap"]),
        ("per second", ["env_steps_per_second", "updates_per_second"]),
    ]
    figure, axes = new_figure(2, 2, size=(11, 6.5))
    for axis, (title, keys) in zip(axes.flat, panels, strict=True):
        for key in keys:
            steps, values = run.series("train", key)
            if len(steps):
                axis.plot(steps, values, label=key)
        axis.set_title(title)
        axis.set_xlabel("environment steps")
        axis.grid(alpha=0.3)
        if axis.has_data():
            axis.legend(fontsize=8)
    return save_figure(figure, out, dpi=110)


def plot_phase_seconds(seconds: dict[str, float], out: Path) -> Path:
    """Where the wall time of a run went, as a bar chart PNG.

    Args:
        seconds: phase -> seconds, as `PhaseTimer.seconds`.
        out: the PNG to write.
    """
    items = sorted(((name, value) for name, value in seconds.items() if value > 0), key=lambda item: item[1])
    figure, ((axis,),) = new_figure(size=(7, 0.5 + 0.45 * max(1, len(items))))
    axis.barh([name for name, _ in items], [value for _, value in items], color="#0072B2")
    total = sum(value for _, value in items) or 1.0
    for row, (_, value) in enumerate(items):
        axis.text(value, row, f" {value:.1f} s ({100 * value / total:.0f}%)", va="center", fontsize=9)
    axis.set_xlabel("seconds")
    axis.margins(x=0.2)
    return save_figure(figure, out, dpi=110)


def write_report(run_paths: Sequence[Path], out_dir: Path) -> list[Path]:
    """Write learning_curve.png of all runs to `out_dir`, and training_curves.png into each run's folder."""
    runs = [read_run(path) for path in run_paths]
    written = [plot_learning_curves(runs, Path(out_dir) / "learning_curve.png")]
    written += [
        plot_training_curves(run, run.path / "training_curves.png") for run in runs if run.has_training
    ]
    return written
