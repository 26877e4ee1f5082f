"""The state of environments as one vector each, for files: enough to draw a moment again.

The vector holds the floating entries of a pool's `get_state`, in the order of their names; what they are is
told by a layout, name to shape. The others (random streams, counts) are not needed for a picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.base_pool import PoolState
from ibrl_fast.envs.stacking import FRAMES
from ibrl_fast.errors import ArgumentError, describe

Layout = dict[str, list[int]]
"""Shape of each entry of one environment, by name."""


def state_layout(state: PoolState) -> Layout:
    """Return the layout of a pool's state."""
    return {
        name: list(state[name].shape[1:])
        for name in sorted(state)
        if state[name].dtype.kind == "f" and not name.startswith(FRAMES)
    }


def state_vectors(state: PoolState) -> npt.NDArray[np.float64]:
    """Return the state of N environments as vectors float64 [N, state_size]."""
    parts = [state[name].reshape(len(state[name]), -1) for name in state_layout(state)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def with_vector(state: PoolState, layout: Mapping[str, Any], vector: Any) -> PoolState:
    """Return the state of one environment with a vector's entries in it.

    Args:
        state: of a pool of one environment.
        layout: of the vector.
        vector: [state_size].

    Raises:
        ArgumentError: a layout other than the pool's, or a vector of another size.
    """
    own = state_layout(state)
    if dict(layout) != own:
        raise ArgumentError(
            f"state_layout: expected {describe(own)} as the environment has it, got {describe(dict(layout))}"
        )
    sizes = [math.prod(shape) for shape in own.values()]
    if np.shape(vector) != (sum(sizes),):
        raise ArgumentError(f"states: expected {sum(sizes)} numbers, got {list(np.shape(vector))}")
    parts = np.split(np.asarray(vector, np.float64), np.cumsum(sizes)[:-1])
    given = {name: part.reshape(1, *own[name]).astype(state[name].dtype) for name, part in zip(own, parts)}
    return {**state, **given}
