"""Small replay buffers with images, vectors and proposals, filled from a seed, and their equality."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ibrl_fast.data import BufferPlan, Demonstration, ObsSpec, ReplayBuffer

SPACE = {"state": ObsSpec((4,)), "front": ObsSpec((3, 8, 8), torch.uint8)}


def make_buffer(**changes: Any) -> ReplayBuffer:
    options = {"capacity": 60, "max_episode_steps": 10, "num_envs": 2, "seed": 5} | changes
    return ReplayBuffer(BufferPlan(SPACE, 2, **options))


def is_demo(buffer: ReplayBuffer, rows: torch.Tensor) -> torch.Tensor:
    """Which of a batch's rows `[batch]` lie in the demonstrations' region."""
    return rows < buffer.plan.layout.demo_rows


def num_online(buffer: ReplayBuffer) -> int:
    """Online steps held, seen at one moment."""
    with buffer._lock:
        return len(buffer) - buffer.num_demo_steps


def observation(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    return {
        "state": rng.normal(size=(count, 4)).astype(np.float32),
        "front": rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8),
    }


def proposals(rng: np.random.Generator, count: int, samples: int = 1) -> np.ndarray:
    return rng.uniform(-1, 1, (count, samples, 2)).astype(np.float32)


def step_arguments(
    rng: np.random.Generator, count: int = 2, *, terminated: bool = False, truncated: bool = False
) -> dict[str, Any]:
    return {
        "action": rng.uniform(-1, 1, (count, 2)).astype(np.float32),
        "reward": rng.normal(size=count).astype(np.float32),
        "terminated": np.full(count, terminated),
        "truncated": np.full(count, truncated),
        "next_obs": observation(rng, count),
        "il_action_next": proposals(rng, count),
    }


def fill(
    buffer: ReplayBuffer, rng: np.random.Generator, steps: int, length: int = 10, count: int = 2
) -> None:
    for t in range(steps):
        if t % length == 0:
            buffer.start_episode(None, observation(rng, count), proposals(rng, count))
        buffer.append(**step_arguments(rng, count, truncated=(t + 1) % length == 0))


def make_demo(rng: np.random.Generator, steps: int = 6, **changes: Any) -> Demonstration:
    last = np.arange(steps) == steps - 1
    fields = {
        "observations": observation(rng, steps + 1),
        "actions": rng.uniform(-1, 1, (steps, 2)),
        "rewards": last.astype(np.float32),
        "terminated": last,
        "truncated": np.zeros(steps, dtype=bool),
    }
    return Demonstration(**(fields | changes))


def assert_same(a: Any, b: Any) -> None:
    """Equal bit for bit: nested dictionaries, tensors, numbers."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b)
    else:
        assert a == b
