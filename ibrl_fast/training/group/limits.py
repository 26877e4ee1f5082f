"""How many runs fit side by side: by cores and threads, and by memory."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import closing

from ibrl_fast.errors import expect
from ibrl_fast.memory import available_host_bytes
from ibrl_fast.training.build import open_pool, plan_buffer
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.observation_plan import plan_observation

# What a process takes beside the buffer: libraries, environments, networks and their batches
RUN_BYTES = 1 << 30
WORKER_BYTES = 1 << 29


def side_by_side(configs: Collection[TrainConfig], jobs: int | None = None) -> int:
    """Return how many of these runs work at once; the others wait until one of them has ended.

    Every run keeps the threads that it has alone, on which the last bits of its numbers depend: as many run
    at once as there are cores for these threads, and memory for their replay buffers. Runs on another device
    than the CPU go one after the other.

    Args:
        configs: of the runs.
        jobs: the number that is wanted instead.

    Raises:
        ArgumentError: `jobs` is below 1, or more than memory allows.
    """
    expect(jobs is None or jobs >= 1, "jobs", "at least 1", jobs)
    by_memory = max(1, available_host_bytes() // max(map(expected_bytes, _kinds(configs))))
    if jobs is not None:
        few = min(jobs, len(configs))
        expect(few <= by_memory, "jobs", f"at most {by_memory}, for which there is memory", jobs)
        return few
    threads = max(config.cpu_threads() for config in configs)
    by_cores = max(1, len(os.sched_getaffinity(0)) // threads)
    if any(config.device != "cpu" for config in configs):
        by_cores = 1
    return min(by_cores, by_memory, len(configs))


def expected_bytes(config: TrainConfig) -> int:
    """Return about how much host memory a run takes, its replay buffer full."""
    workers = WORKER_BYTES * config.evaluation.workers
    with closing(open_pool(config)) as pool:
        demos = config.demos.episodes or 0
        steps = demos * config.env.max_episode_steps
        rows = plan_buffer(config, pool, plan_observation(config, pool), 1, steps, demos)
    return RUN_BYTES + workers + (0 if rows.storage == "device" else rows.required_bytes)


def _kinds(configs: Collection[TrainConfig]) -> list[TrainConfig]:
    """Return one run of each kind that may differ in memory."""
    return list({repr((c.env, c.replay, c.demos, c.evaluation.workers)): c for c in configs}.values())
