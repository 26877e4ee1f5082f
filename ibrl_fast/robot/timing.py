"""How well a control loop kept its time: latencies by stage, jitter, missed deadlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

STAGES = ("wake", "sensors", "inference", "safety", "send")
"""What a step consists of; `wake` is how late the loop woke for it."""
QUANTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}


@dataclass
class StepTimes:
    """Times of one step, s of the loop's clock."""

    deadline: float
    """When it was to begin."""
    started: float
    """When it began."""
    observed: float | None = None
    """When the sensors had been read."""
    decided: float | None = None
    """When the policy had answered; None: it was not asked."""
    filtered: float | None = None
    """When the safety filter had answered."""
    sent: float | None = None
    """When the command had been sent; None: none was."""

    def stages(self) -> dict[str, float]:
        """Return the duration of each stage that took place, s."""
        marks = (self.deadline, self.started, self.observed, self.decided, self.filtered, self.sent)
        return {
            stage: after - before
            for stage, before, after in zip(STAGES, marks, marks[1:])
            if before is not None and after is not None
        }


def summarise(steps: Sequence[StepTimes], period: float) -> dict[str, dict[str, float]]:
    """Return quantiles in ms of every stage, of `latency` and of `jitter`.

    `latency` is from a step's deadline to its command; `jitter` is by how much the time between two commands
    differs from the time between their deadlines.

    Args:
        steps: of one or several episodes.
        period: of the loop, s; commands further apart than 1.5 of it in their deadlines are not compared.
    """
    durations: dict[str, list[float]] = {stage: [] for stage in (*STAGES, "latency", "jitter")}
    before: StepTimes | None = None
    for step in steps:
        for stage, seconds in step.stages().items():
            durations[stage].append(seconds)
        if step.sent is None:
            continue
        durations["latency"].append(step.sent - step.deadline)
        if before is not None and before.sent is not None and step.deadline - before.deadline < 1.5 * period:
            durations["jitter"].append(abs((step.sent - before.sent) - (step.deadline - before.deadline)))
        before = step
    return {stage: _quantiles(values) for stage, values in durations.items() if values}


def table(summary: Mapping[str, Mapping[str, float]]) -> str:
    """Return a summary as lines of text, in ms."""
    head = f"{'ms':<10}" + "".join(f"{name:>9}" for name in QUANTILES)
    rows = [
        f"{stage:<10}" + "".join(f"{row[name]:9.3f}" for name in QUANTILES) for stage, row in summary.items()
    ]
    return "\n".join([head, *rows])


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    values = np.percentile(1e3 * np.asarray(seconds), list(QUANTILES.values()))
    return {name: float(value) for name, value in zip(QUANTILES, values)}
