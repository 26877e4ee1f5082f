"""What one observation holds: names, shapes and dtypes, as replay buffer and demonstrations see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ibrl_fast.data.checks import check_integer
from ibrl_fast.errors import ArgumentError


@dataclass(frozen=True)
class ObsSpec:
    """One entry of an observation, without the environment axis and before stacking.

    Attributes:
        shape: `[features]` for `state` and `proprio`, `[channels, height, width]` for a camera.
        dtype: `torch.float32` for vectors, `torch.uint8` for images.

    Raises:
        TypeError, ValueError: neither a float32 vector nor a uint8 image.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if not isinstance(self.shape, (tuple, list)):
            raise TypeError(f"shape: expected a tuple, got {type(self.shape).__name__}")
        shape = tuple(check_integer("shape", size, minimum=0) for size in self.shape)
        object.__setattr__(self, "shape", shape)
        if any(size < 1 for size in shape):
            raise ArgumentError(f"shape: expected sizes of at least 1, got {list(shape)}")
        if self.dtype == torch.float32:
            if len(shape) != 1:
                raise ArgumentError(
                    f"shape: expected [features] for a float32 observation, got {list(shape)}"
                )
        elif self.dtype == torch.uint8:
            if len(shape) != 3:
                raise ArgumentError(
                    f"shape: expected [channels, height, width] for a uint8 image, got {list(shape)}"
                )
        else:
            raise ArgumentError(f"dtype: expected torch.float32 or torch.uint8, got {self.dtype}")

    @property
    def is_image(self) -> bool:
        """Whether this entry is a camera image (uint8, CHW)."""
        return self.dtype == torch.uint8

    def stacked_shape(self, stack: int) -> tuple[int, ...]:
        """Return the shape of `stack` observations joined along the first feature axis, newest first."""
        return (stack * self.shape[0], *self.shape[1:])


def observation_specs(space: Any) -> dict[str, ObsSpec]:
    """Describe a Gymnasium `Dict` of `Box` spaces (of one environment); floating boxes become float32.

    Raises:
        ValueError: a space that is no `Dict`, or an entry that `ObsSpec` refuses.
    """
    spaces = getattr(space, "spaces", None)
    if not isinstance(spaces, Mapping):
        raise ArgumentError(f"space: expected a gymnasium Dict space, got {type(space).__name__}")
    specs: dict[str, ObsSpec] = {}
    for key, box in spaces.items():
        dtype = torch.float32 if np.issubdtype(box.dtype, np.floating) else torch.uint8
        if dtype == torch.uint8 and box.dtype != np.uint8:
            raise ArgumentError(f"{key}: expected a floating or uint8 box, got {box.dtype}")
        specs[str(key)] = ObsSpec(tuple(box.shape), dtype)
    return specs
