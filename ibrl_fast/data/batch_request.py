"""What a batch is drawn from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ibrl_fast.data.checks import check_integer
from ibrl_fast.data.episode_index import EpisodeIndex
from ibrl_fast.errors import ArgumentError


class BatchRequest(NamedTuple):
    """All transitions (`demo_fraction` None), or a share of demonstrations and online ones after them."""

    batch_size: int
    demo_fraction: float | None

    @classmethod
    def of(cls, batch_size: int, demo_fraction: float | None = None) -> BatchRequest:
        """A checked request."""
        if demo_fraction is not None and not isinstance(demo_fraction, (int, float, np.floating)):
            raise TypeError(f"demo_fraction: expected a number, got {type(demo_fraction).__name__}")
        if demo_fraction is not None and not 0.0 <= demo_fraction <= 1.0:
            raise ArgumentError(f"demo_fraction: expected a value in [0, 1], got {demo_fraction}")
        return cls(
            check_integer("batch_size", batch_size, 1, 2**31 - 1),
            None if demo_fraction is None else float(demo_fraction),
        )

    @property
    def demo_size(self) -> int | None:
        """How many of a mixed batch are demonstrations."""
        return None if self.demo_fraction is None else int(self.batch_size * self.demo_fraction + 0.5)

    def check_held(self, index: EpisodeIndex) -> None:
        """Raises ValueError where a part is wanted of which there is none."""
        size, demo_size = self.batch_size, self.demo_size
        online = index.size - index.num_demo_steps
        for what, wanted, held in (
            ("transitions", size if demo_size is None else 0, index.size),
            ("demonstrations", demo_size or 0, index.num_demo_steps),
            ("online transitions", 0 if demo_size is None else size - demo_size, online),
        ):
            if wanted and not held:
                raise ArgumentError(f"sample: expected at least one of the {what}, got none in the buffer")
