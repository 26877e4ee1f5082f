"""Demonstrations with random content, for tests."""

from __future__ import annotations

import numpy as np

from ibrl_fast.data import Demonstration


def make_demo(seed=0, steps=5, *, success=True, **changes):
    rng = np.random.default_rng(seed)
    last = np.arange(steps) == steps - 1
    fields = {
        "observations": {
            "state": rng.normal(size=(steps + 1, 7)).astype(np.float32),
            "proprio": rng.normal(size=(steps + 1, 3)).astype(np.float32),
            "corner2": rng.integers(0, 256, (steps + 1, 3, 6, 8), dtype=np.uint8),
        },
        "actions": rng.uniform(-1, 1, (steps, 4)).astype(np.float32),
        "rewards": (last & success).astype(np.float32),
        "terminated": last & success,
        "truncated": last & (not success),
        "states": rng.normal(size=(steps, 11)),
        "seed": 1000 + seed,
    }
    return Demonstration(**(fields | changes))
