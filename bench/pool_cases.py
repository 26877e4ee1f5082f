"""What the benches of pools step: tasks, random actions and pools of ours, and how they are timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ibrl_fast.envs import make_pool

TASKS = {
    "assembly": "MetaWorld/Assembly-v3",
    "box-close": "MetaWorld/BoxClose-v3",
    "coffee-push": "MetaWorld/CoffeePush-v3",
    "stick-pull": "MetaWorld/StickPull-v3",
}
NUM_ENVS = 8

Timing = tuple[float, float]
"""Wall and processor seconds per control step of one environment."""
Samples = dict[str, list[Timing]]
"""Timings of every candidate, one a round."""


def timed(function: Callable[[], object], steps: int) -> Timing:
    start, cpu = time.perf_counter(), time.process_time()
    function()
    return (time.perf_counter() - start) / steps, (time.process_time() - cpu) / steps


def run_rounds(candidates: Mapping[str, Callable[[int], Timing]], rounds: int) -> Samples:
    """Time every candidate, in turn; a first round is not counted."""
    samples: Samples = {name: [] for name in candidates}
    for candidate in candidates.values():
        candidate(10**6)
    for round_index in range(rounds):
        for name, candidate in candidates.items():
            samples[name].append(candidate(round_index))
    return samples


def ratio(samples: Samples, name: str, other: str, clock: int) -> float | None:
    """Say how many times as fast one is as the other: median over rounds, clock 0 wall or 1 processor."""
    if name not in samples or other not in samples:
        return None
    pairs = zip(samples[name], samples[other], strict=True)
    return statistics.median(b[clock] / a[clock] for a, b in pairs)


def draw_actions(round_index: int, steps: int, num_envs: int) -> np.ndarray:
    """Draw uniform actions `[steps, num_envs, 4]` float32."""
    return np.random.default_rng(round_index).uniform(-1, 1, (steps, num_envs, 4)).astype(np.float32)


def make_original(task: str, backend: str, **options: Any) -> Any:
    """Make a pool that runs 500-step episodes without repeated actions, as the published environments do."""
    defaults = {"action_repeat": 1, "max_episode_steps": 500, "terminate_on_success": False}
    return make_pool(task, backend=backend, **{**defaults, **options})


def time_pool(pool: Any, round_index: int, steps: int) -> Timing:
    pool.reset(seed=round_index)
    actions = draw_actions(round_index, steps, pool.num_envs)

    def run() -> None:
        for action in actions:
            pool.step(action)

    return timed(run, steps * pool.num_envs)
