"""Seeds derived from seeds: neighbouring ones give unrelated random streams."""

from __future__ import annotations

import numpy as np

from ibrl_fast.errors import ArgumentError


def derive_env_seed(seed: int, index: int) -> int:
    """Return the seed of environment (or episode) `index` under `seed`: 63 bits of NumPy's SeedSequence."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def episode_seeds(seed: int, episodes: int) -> list[int]:
    """Return the seeds of `episodes` episodes under one number; a longer list starts with the shorter one.

    Raises:
        ArgumentError: fewer than one episode.
    """
    if episodes < 1:
        raise ArgumentError(f"episodes: expected at least 1, got {episodes}")
    return [derive_env_seed(seed, index) for index in range(episodes)]


# Independent random streams of one run; a new one goes to the end
STREAMS = ("demos", "bc", "networks", "agent", "buffer", "collector", "pool")


def stream_seed(seed: int, stream: str) -> int:
    """Derive the seed of one of a run's random streams; streams and seeds are unrelated to one another."""
    return derive_env_seed(seed, STREAMS.index(stream)) % 2**31
