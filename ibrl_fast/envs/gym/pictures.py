"""Pictures of users' environments: any size in, square ones out."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.rendering import choose_platform
from ibrl_fast.errors import describe

Picture = npt.NDArray[np.uint8]


def as_picture(value: Any) -> Picture:
    """Return an image uint8 [H, W, 3]; [3, H, W] is turned, unless its last axis is 3 as well.

    Raises:
        TypeError: something else.
    """
    image = np.asarray(value)
    if image.dtype == np.uint8 and image.ndim == 3 and 3 in (image.shape[-1], image.shape[0]):
        return image if image.shape[-1] == 3 else image.transpose(1, 2, 0)
    got = f"{image.dtype} {list(image.shape)}" if image.dtype.kind in "fiub" else describe(value)
    raise TypeError(f"image: expected uint8 [H, W, 3] or [3, H, W], got {got}")


def resize_picture(image: Picture, size: int) -> Picture:
    """Return [size, size, 3]: as it is where it fits, else each pixel the mean of the area that it covers.

    Height and width are scaled each for itself. The sums are of whole numbers, exact on every processor.
    """
    height, width, channels = image.shape
    if (height, width) == (size, size):
        return image
    rows = _overlaps(height, size) @ image.astype(np.float64).reshape(height, -1)
    sums = np.einsum(
        "ijc,kj->ikc", rows.reshape(size, width, channels), _overlaps(width, size), optimize=True
    )
    area = height * width
    return ((sums.astype(np.int64) + area // 2) // area).astype(np.uint8)


@functools.cache
def _overlaps(source: int, size: int) -> npt.NDArray[np.float64]:
    """Return how much of each of `source` pixels lies in each of `size`, [size, source], times `size`."""
    low = np.maximum.outer(np.arange(size) * source, np.arange(source) * size)
    high = np.minimum.outer(np.arange(1, size + 1) * source, np.arange(1, source + 1) * size)
    return np.maximum(high - low, 0).astype(np.float64)


def fit_picture(image: Picture, size: int) -> Picture:
    """Return [size, size, 3] for people: in its proportions, black where it does not reach."""
    if image.shape[:2] == (size, size):
        return image
    from PIL import Image, ImageOps

    frame = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(ImageOps.pad(frame, (size, size), Image.Resampling.BILINEAR))


@contextmanager
def headless() -> Iterator[None]:
    """Around `render`: environments of MuJoCo draw without a window where `MUJOCO_GL` does not say how.

    Raises:
        RenderingUnavailableError: nothing draws on this machine.
    """
    if "mujoco" not in sys.modules or "MUJOCO_GL" in os.environ:
        yield
        return
    os.environ["MUJOCO_GL"] = choose_platform()
    try:
        yield
    finally:
        del os.environ["MUJOCO_GL"]
