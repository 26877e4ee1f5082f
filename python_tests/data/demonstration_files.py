"""Demonstrations with random content, for tests."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ibrl_fast.data import Demonstration
from ibrl_fast.files import SEAL


def remove_seals(path: Path) -> None:
    """Takes the checksums away, as in a file of another program."""
    with h5py.File(path, "r+") as file:

        def unseal(_, item):
            if SEAL in item.attrs:
                del item.attrs[SEAL]

        file.visititems(unseal)


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
