"""What bench_env_pool.py steps: tasks, random actions and pools of ours, and how they are timed."""

from __future__ import annotations

import time
from collections.abc import Callable
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


def timed(function: Callable[[], object], steps: int) -> Timing:
    start, cpu = time.perf_counter(), time.process_time()
    function()
    return (time.perf_counter() - start) / steps, (time.process_time() - cpu) / steps


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
