"""Success by rule, as in the paper (Sec. XI.A): small pure functions, and detectors made of them.

A detector is asked with all observations of the episode so far, oldest first, the newest last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.errors import ArgumentError, expect
from ibrl_fast.robot.robot import Observation

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


def is_lifted(
    widths: Sequence[float],
    targets: Sequence[float],
    heights: Sequence[float],
    *,
    rise: float = 0.02,
    frames: int = 3,
    still: float = 0.0005,
    squeeze: float = 0.002,
    widest: float = 0.08,
) -> bool:
    """Say whether something is held and has been lifted since it is held.

    Held: over the last `frames` the gripper did not move, and it was told to be narrower than it is.

    Args:
        widths, targets: measured and commanded width of the gripper at every step, m.
        heights: of the end effector at every step, m.
        rise: how far it must have moved up while holding, m.
        frames: steps over which the gripper is still.
        still: largest difference of widths among them, m.
        squeeze: least difference between width and commanded width, m.
        widest: largest width of what can be held, m: a gripper that is stuck open holds nothing.
    """
    lowest = None
    for last in range(len(widths) - 1, frames - 2, -1):
        recent = widths[last - frames + 1 : last + 1]
        is_still = max(recent) - min(recent) <= still
        is_squeezing = widths[last] - targets[last] >= squeeze and widths[last] <= widest
        if not (is_still and is_squeezing):
            break
        lowest = heights[last] if lowest is None else min(lowest, heights[last])
    return lowest is not None and heights[-1] - lowest >= rise


def red_pixels(image: Array, *, least: int = 90, ratio: float = 1.6, neighbours: int = 6) -> Mask:
    """Return which pixels `[height, width]` of an image `[3, height, width]` uint8 belong to something red.

    Args:
        image: red, green, blue.
        least: smallest value of red.
        ratio: how many times red is the larger of the others.
        neighbours: of the 9 pixels around (itself included) that must be red too: noise has few.
    """
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != np.uint8:
        raise ArgumentError(
            f"image: expected uint8 [3, height, width], got {image.dtype} {list(image.shape)}"
        )
    red, others = image[0].astype(np.float32), image[1:].max(0).astype(np.float32)
    found = (red >= least) & (red >= ratio * others)
    padded = np.pad(found, 1).astype(np.uint8)
    height, width = found.shape
    near = sum(padded[y : y + height, x : x + width] for y in range(3) for x in range(3))
    return found & (np.asarray(near) >= neighbours)


def is_patch_visible(image: Array, *, pixels: int = 30, **red: Any) -> bool:
    """Say whether a red patch of at least so many pixels is visible; further arguments as of `red_pixels`."""
    return int(red_pixels(image, **red).sum()) >= pixels


def is_hanging(
    images: Sequence[Array],
    width: float,
    *,
    open_width: float,
    line: int,
    pixels: int = 30,
    change: float = 0.1,
    **red: Any,
) -> bool:
    """Say whether a red cloth hangs by itself: let go, still, and with its top above a line.

    Args:
        images: the last ones, `[3, height, width]` uint8, among which the red pixels must be the same.
        width: of the gripper, m.
        open_width: at which it counts as wide open, m.
        line: row of the image, from the top, at or above which the highest red pixel must be.
        pixels: fewest red pixels of a cloth.
        change: largest share of red pixels that differ between any image and the newest.
        red: as of `red_pixels`.
    """
    if width < open_width:
        return False
    masks = [red_pixels(image, **red) for image in images]
    newest = masks[-1]
    count = int(newest.sum())
    if count < pixels or int(np.flatnonzero(newest.any(1))[0]) > line:
        return False
    return all(int((mask != newest).sum()) <= change * count for mask in masks[:-1])


@dataclass(frozen=True)
class LiftSuccess:
    """Lift: the gripper holds something and has moved up while holding it."""

    rise: float = 0.02
    """How far, m."""
    frames: int = 3
    """Steps over which the gripper is still."""

    def __post_init__(self) -> None:
        expect(self.rise > 0.0, "rise", "> 0 m", self.rise)
        expect(self.frames >= 2, "frames", ">= 2", self.frames)

    def __call__(self, seen: Sequence[Observation]) -> bool:
        """Judge the episode so far."""
        states = [observation.state for observation in seen]
        return is_lifted(
            [state.gripper_width for state in states],
            [state.gripper_target for state in states],
            [float(state.position[2]) for state in states],
            rise=self.rise,
            frames=self.frames,
        )


@dataclass(frozen=True)
class DrawerSuccess:
    """Drawer: a side camera sees the red patch that an open drawer shows."""

    camera: str
    """Name of the sensor."""
    pixels: int = 30
    """Fewest red pixels of the patch."""
    frames: int = 2
    """Images in a row that must show it."""

    def __post_init__(self) -> None:
        for name in ("pixels", "frames"):
            expect(getattr(self, name) >= 1, name, ">= 1", getattr(self, name))

    def __call__(self, seen: Sequence[Observation]) -> bool:
        """Judge the newest images."""
        images = newest_images(seen, self.camera, self.frames)
        return len(images) == self.frames and all(
            is_patch_visible(image, pixels=self.pixels) for image in images
        )


@dataclass(frozen=True)
class HangSuccess:
    """Hang: the gripper is wide open, and the red cloth is still with its top above a line."""

    camera: str
    """Name of the sensor."""
    line: int
    """Row of the image, from the top, that the cloth's highest pixel must reach."""
    open_width: float = 0.075
    """Width at which the gripper counts as wide open, m."""
    frames: int = 4
    """Images among which the red pixels must be the same."""
    pixels: int = 30
    """Fewest red pixels of the cloth."""

    def __post_init__(self) -> None:
        expect(self.line >= 0, "line", ">= 0", self.line)
        expect(self.frames >= 2, "frames", ">= 2", self.frames)
        expect(self.pixels >= 1, "pixels", ">= 1", self.pixels)

    def __call__(self, seen: Sequence[Observation]) -> bool:
        """Judge the newest images."""
        images = newest_images(seen, self.camera, self.frames)
        if len(images) < self.frames:
            return False
        width = seen[-1].state.gripper_width
        return is_hanging(images, width, open_width=self.open_width, line=self.line, pixels=self.pixels)


DETECTORS: dict[str, Callable[..., Callable[[Sequence[Observation]], bool]]] = {
    "lift": LiftSuccess,
    "drawer": DrawerSuccess,
    "hang": HangSuccess,
}
"""By the name of the task."""


def newest_images(seen: Sequence[Observation], camera: str, frames: int) -> list[Array]:
    """Return a camera's last images, oldest first; one that was delivered twice counts once.

    Raises:
        ArgumentError: there is no such camera.
    """
    images: list[Array] = []
    stamp = None
    for observation in reversed(seen):
        reading = observation.sensors.get(camera)
        if reading is None:
            raise ArgumentError(f"camera: expected one of {sorted(observation.sensors)}, got {camera}")
        if reading.time != stamp:
            images.insert(0, reading.value)
            stamp = reading.time
        if len(images) == frames:
            break
    return images
