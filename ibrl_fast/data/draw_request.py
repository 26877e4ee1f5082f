"""What a draw takes a batch from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ibrl_fast.data.checks import check_integer
from ibrl_fast.data.episode_index import EpisodeIndex
from ibrl_fast.errors import ArgumentError


class DrawRequest(NamedTuple):
    """A batch of all transitions (`demo_fraction` None), or of a share of demonstrations and online ones."""

    batch_size: int
    demo_fraction: float | None

    @classmethod
    def of(cls, batch_size: int, demo_fraction: float | None = None) -> DrawRequest:
        """Check a caller's arguments."""
        size = check_integer("batch_size", batch_size, 1, 2**31 - 1)
        if demo_fraction is None:
            return cls(size, None)
        if isinstance(demo_fraction, bool) or not isinstance(demo_fraction, (int, float, np.floating)):
            raise TypeError(f"demo_fraction: expected a number, got {type(demo_fraction).__name__}")
        if not 0.0 <= demo_fraction <= 1.0:
            raise ArgumentError(f"demo_fraction: expected a value in [0, 1], got {demo_fraction}")
        return cls(size, float(demo_fraction))

    @property
    def demo_size(self) -> int | None:
        """How many of the first rows are demonstrations; None where all transitions are alike."""
        return None if self.demo_fraction is None else int(self.batch_size * self.demo_fraction + 0.5)

    def check_held(self, index: EpisodeIndex) -> None:
        """Raise ValueError where nothing is held, or demonstrations are wanted and none is held."""
        if self.demo_size and not index.num_demo_steps:
            raise ArgumentError(
                f"demo_fraction: expected demonstrations in the buffer for {self.demo_fraction}, got none"
            )
        if not index.size:
            raise ArgumentError("sample: expected at least one of the transitions, got none in the buffer")
