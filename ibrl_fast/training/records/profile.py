"""What `ibrl-fast train --profile` adds to a run folder: a trace of some steps, and where their time went."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity

from ibrl_fast.files import replacing, write_bytes
from ibrl_fast.training.records.metrics import read_metrics
from ibrl_fast.training.records.pictures import new_figure, save_figure

TRACE_NAME = "trace.json"
TABLE_NAME = "profile.txt"
CHART_NAME = "profile.png"

# agent steps from the first update on: passed over, seen by the profiler but not kept, kept
SKIPPED, WARMED, KEPT = 200, 10, 100
MOST_OPERATORS = 15


class StepProfiler:
    """Records a window of agent steps with torch.profiler, the loop's phases as ranges in it.

    Writes trace.json (for chrome://tracing or Perfetto), profile.txt (operators by their own time) and, at
    the end of the run, profile.png: milliseconds per environment step and phase over the run, and the
    window's operators. On a GPU its kernels are in them. Phases are NVTX ranges for Nsight in any case.

    Args:
        run_dir: the run's folder.
        device: of the learner.
        say: tells a person what was written.
        skipped, warmed, kept: agent steps, from the first update on, until the window, of its warm-up, in it.
    """

    def __init__(
        self,
        run_dir: Path,
        device: str,
        say: Callable[[str], None],
        *,
        skipped: int = SKIPPED,
        warmed: int = WARMED,
        kept: int = KEPT,
    ) -> None:
        self._run_dir = run_dir
        self._say = say
        on_gpu = torch.device(device).type == "cuda"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        self._sort_by = f"self_{'device' if on_gpu else 'cpu'}_time_total"
        self._operators: list[tuple[str, float]] = []
        self._kept = kept
        self._profiler = torch.profiler.profile(
            activities=activities,
            schedule=torch.profiler.schedule(wait=skipped, warmup=warmed, active=kept, repeat=1),
            on_trace_ready=self._write,
        )
        self._profiler.start()

    def step(self) -> None:
        """Note the end of an agent step, with the updates that belong to it."""
        self._profiler.step()

    def finish(self) -> None:
        """End the window, where it still runs, and draws."""
        self._profiler.stop()
        if self._operators:
            plot_profile(self._run_dir, self._operators, self._kept)
            self._say(f"profile: {TRACE_NAME}, {TABLE_NAME} and {CHART_NAME} in {self._run_dir}")
        else:
            self._say("profile: none, the run was shorter than what is skipped")

    def _write(self, profiler: torch.profiler.profile) -> None:
        with replacing(self._run_dir / TRACE_NAME) as temporary:
            profiler.export_chrome_trace(str(temporary))
        averages = profiler.key_averages()
        table = averages.table(sort_by=self._sort_by, row_limit=60)
        write_bytes(self._run_dir / TABLE_NAME, f"{table}\n".encode())
        ranked = sorted(averages, key=lambda entry: -getattr(entry, self._sort_by))
        self._operators = [
            (str(entry.key), getattr(entry, self._sort_by) / 1e3) for entry in ranked[:MOST_OPERATORS]
        ]


def plot_profile(run_dir: Path, operators: list[tuple[str, float]], steps: int) -> Path:
    """Draws profile.png: phases over the run, and the window's operators.

    Args:
        run_dir: the run's folder, with its metrics.
        operators: name and own milliseconds in the window, the longest first.
        steps: agent steps in the window.
    """
    records = [record for record in read_metrics(run_dir) if record["kind"] == "train"]
    figure, ((over_time, longest),) = new_figure(1, 2, size=(13, 5.5))

    # milliseconds per environment step between two records of the log, one bar for each interval
    pairs = [(a, b) for a, b in pairwise(records) if b["env_steps"] > a["env_steps"]]
    begins = np.array([before["env_steps"] for before, _ in pairs], dtype=float)
    widths = np.array([now["env_steps"] - before["env_steps"] for before, now in pairs], dtype=float)
    bottom = np.zeros(len(pairs))
    for key in [key for key in (records[-1] if records else {}) if key.startswith("seconds/")]:
        spent = np.array([now[key] - before.get(key, 0.0) for before, now in pairs])
        if spent.any():
            height = 1e3 * spent / widths
            name = key.removeprefix("seconds/")
            over_time.bar(begins, height, widths, bottom, align="edge", label=name)
            bottom += height
    if bottom.any():
        over_time.legend(fontsize=8)
    over_time.set_xlabel("environment steps")
    over_time.set_ylabel("milliseconds per environment step")
    over_time.set_title("the main process, by phase")

    names = [name if len(name) <= 48 else name[:45] + "..." for name, _ in operators][::-1]
    longest.barh(names, [value / steps for _, value in operators][::-1], color="#0072B2")
    longest.tick_params(axis="y", labelsize=8)
    longest.set_xlabel("own milliseconds per agent step")
    longest.set_title(f"operators and ranges in the {steps} steps of {TRACE_NAME}")
    return save_figure(figure, run_dir / CHART_NAME, dpi=120)
