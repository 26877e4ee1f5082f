"""What a run leaves behind while it runs: metrics.jsonl (plain, append-only) and TensorBoard events.

Every metric that may be logged is defined in docs/metrics.md; a test holds the two together.
"""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from ibrl_fast.agents.ranges import nvtx_range

METRICS_NAME = "metrics.jsonl"

# The phases that `PhaseTimer` may be asked for; each is an NVTX range and a `seconds/<phase>` metric
PHASES = ("collect", "sample", "critic", "actor", "update", "evaluate", "checkpoint", "bc")


class MetricsLogger:
    """Appends one JSON object per call to metrics.jsonl and mirrors the numbers to TensorBoard.

    Args:
        run_dir: the run's folder.
        resume_at: on resuming, records after these `env_steps` are dropped, so that all reads as one run.
        tensorboard: write TensorBoard events as well.
    """

    def __init__(self, run_dir: Path, *, resume_at: int | None = None, tensorboard: bool = True) -> None:
        self._path = Path(run_dir) / METRICS_NAME
        if resume_at is None:
            self._path.unlink(missing_ok=True)
        else:
            kept = [
                record
                for record in read_metrics(self._path)
                if record["env_steps"] <= resume_at and record["kind"] != "summary"
            ]
            self._path.write_text("".join(json.dumps(record) + "\n" for record in kept))
        self._file = self._path.open("a", buffering=1)
        self._writer = SummaryWriter(str(run_dir), purge_step=resume_at) if tensorboard else None

    def log(self, kind: str, env_steps: int, metrics: dict[str, Any]) -> None:
        """Writes one record.

        Args:
            kind: `train`, `episode`, `eval`, `bc` or `summary`.
            env_steps: environment steps (control steps, action repeat counted) so far.
            metrics: numbers (or lists of numbers, which go to the JSON file alone).
        """
        record = {
            "kind": kind,
            "env_steps": env_steps,
            **{key: _plain(value) for key, value in metrics.items()},
        }
        self._file.write(json.dumps(record) + "\n")
        if self._writer is not None:
            for key, value in record.items():
                if isinstance(value, int | float) and not isinstance(value, bool) and key != "env_steps":
                    self._writer.add_scalar(f"{kind}/{key}", value, env_steps)

    def close(self) -> None:
        """Flushes and closes both; may be called twice."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.item() if value.numel() == 1 else value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads a metrics.jsonl (or the one in a run folder); a line cut off by a crash is left out."""
    path = Path(path)
    if path.is_dir():
        path = path / METRICS_NAME
    if not path.is_file():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


class MetricsAccumulator:
    """Means of device tensors over a logging interval, read from the device once, not at every update.

    The sums stay where they are from their first use on, so that a CUDA graph can add to them.
    """

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, metrics: dict[str, torch.Tensor]) -> None:
        """Adds scalars (device tensors, [] each); nothing is read back."""
        for key, value in metrics.items():
            total = self._sums.get(key)
            if total is None:
                total = self._sums[key] = torch.zeros((), dtype=torch.float64, device=value.device)
            elif total.device != value.device:
                # loaded from a file
                total = self._sums[key] = total.to(value.device)
            total.add_(value.detach())
        self.count(dict.fromkeys(metrics, 1))

    def count(self, times: Mapping[str, int]) -> None:
        """Notes that so many values were added to each sum, where that happened without `add`."""
        for key, number in times.items():
            self._counts[key] += number

    @property
    def counts(self) -> dict[str, int]:
        """Values added to each sum since the last `pop`."""
        return {key: number for key, number in self._counts.items() if number}

    def pop(self) -> dict[str, float]:
        """The means since the last call, as Python floats, read in one transfer; empties the accumulator."""
        counts = self.counts
        totals = torch.stack([self._sums[key] for key in counts]).tolist() if counts else []
        for total in self._sums.values():
            total.zero_()
        self._counts.clear()
        return {key: total / number for (key, number), total in zip(counts.items(), totals, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """What was added since the last `pop`."""
        counts = self.counts
        return {"sums": {key: self._sums[key].clone() for key in counts}, "counts": counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` stood."""
        for total in self._sums.values():
            total.zero_()
        for key, total in state["sums"].items():
            if key in self._sums:
                self._sums[key].copy_(total)
            else:
                self._sums[key] = total.clone()
        self._counts = defaultdict(int, state["counts"])


class PhaseTimer:
    """Wall seconds per phase of the loop, with an NVTX range of the same name around each.

    Args:
        profiled: also a range of torch.profiler.
    """

    def __init__(self, *, profiled: bool = False) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        self._range = torch.profiler.record_function if profiled else nullcontext

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        with nvtx_range(phase), self._range(phase):
            try:
                yield
            finally:
                self.seconds[phase] += time.perf_counter() - started
