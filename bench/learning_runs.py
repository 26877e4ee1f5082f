"""What a training run's records say, as bench_learning.py and bench_train.py read them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

KEPT = ("env_steps", "success_rate", "hybrid_success_rate", "gate_open", "cpu_seconds", "wall_seconds")


def first_solved(points: Sequence[dict[str, Any]], rate: float = 0.9) -> dict[str, float] | None:
    """Find where two evaluations in a row first reach `rate`: steps and seconds of the second."""
    for before, now in itertools.pairwise(points):
        if min(before["success_rate"], now["success_rate"]) >= rate:
            return {key: now[key] for key in ("env_steps", "cpu_seconds", "wall_seconds")}
    return None


def learning_curve(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reduce every evaluation to what is kept of it."""
    return [{key: point[key] for key in KEPT if key in point} for point in points]
