"""Actions of a demonstration file, brought into [-1, 1] where rounding or a controller left it."""

from __future__ import annotations

import numpy as np

from ibrl_fast.data.demonstration_set import Array
from ibrl_fast.errors import ArgumentError

ROUNDING = 1e-4
"""Beyond the bounds by no more than this, a value is rounded: actions of 1.0000001 are common."""


class ActionBounds:
    """Clips what is just beyond the bounds, or everything that is, and counts it.

    Args:
        clip_all: clip values whatever their size; otherwise what is beyond by more than `ROUNDING` is
            refused.

    Attributes:
        count: values clipped so far.
        largest: the largest absolute value among them; 0 without any.
    """

    def __init__(self, clip_all: bool = False) -> None:
        self._clip_all = clip_all
        self.count = 0
        self.largest = 0.0

    def __call__(self, actions: Array) -> Array:
        """Return actions `[T, action_dim]` in [-1, 1]; values that are no floating numbers as they are.

        Raises:
            ArgumentError: values too far beyond the bounds, or NaN or infinity.
        """
        if actions.dtype.kind != "f":
            return actions
        sizes = np.abs(actions)
        largest = sizes.max(initial=0.0)
        if largest <= 1.0:
            return actions
        message = f"actions: expected values in [-1, 1], got an absolute value of {largest}"
        if not np.isfinite(largest):
            raise ArgumentError(message)
        # the bound as a number of the file's own type, which may have rounded it up
        if not self._clip_all and not largest <= actions.dtype.type(1.0 + ROUNDING):
            raise ArgumentError(f"{message} (demos.clip_actions True clips them)")
        self.count += int((sizes > 1.0).sum())
        self.largest = max(self.largest, float(largest))
        return np.clip(actions, -1.0, 1.0)

    def remarks(self) -> list[str]:
        """Return one line about what was clipped, or none."""
        if not self.count:
            return []
        return [f"clipped action values beyond [-1, 1]: {self.count}, up to {self.largest:.9g} in size"]
