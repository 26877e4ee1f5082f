"""Cameras: each in a thread, each image with the time at which it came, an alarm when one freezes.

A camera that delivers the same image again and again (to the last bit, which noise rules out for a real one)
is frozen: its readings then keep their old time stamp, and whoever acts by them sees their age.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ibrl_fast.deploy import ObservationField
from ibrl_fast.errors import ArgumentError, expect, first_line
from ibrl_fast.robot.clock import Clock, MonotonicClock
from ibrl_fast.robot.extras import need
from ibrl_fast.robot.robot import Array, Reading, RobotError


class Source(Protocol):
    """What images come from."""

    def read(self) -> Array | None:
        """Wait for the next image `[3, height, width]` uint8, red first; None where none came."""

    def close(self) -> None:
        """Let go."""


class CameraThread:
    """Reads a source in a thread; `reading` returns at once.

    Args:
        source: of images.
        clock: of the time stamps.
        frozen_after: seconds of the same image after which the camera counts as frozen; None: never.
        latency: from the light to `Source.read`, s, subtracted from the time stamps.
        say: receives one line when the camera freezes, and when it goes on.
    """

    def __init__(
        self,
        source: Source,
        clock: Clock | None = None,
        *,
        frozen_after: float | None = 0.5,
        latency: float = 0.0,
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        expect(frozen_after is None or frozen_after > 0.0, "frozen_after", "> 0 s or None", frozen_after)
        expect(latency >= 0.0, "latency", ">= 0 s", latency)
        self.is_frozen = False
        """Whether the same image has come for too long."""
        self.frames = 0
        """Images that came."""
        self._source, self._clock, self._say = source, clock or MonotonicClock(), say
        self._frozen_after, self._latency = frozen_after, latency
        self._lock = threading.Lock()
        self._wish = threading.Event()
        self._first = threading.Event()
        self._reading: Reading | None = None
        self._checksum: int | None = None
        self._changed = 0.0
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def start(self, timeout: float = 5.0) -> None:
        """Start the thread and wait for the first image.

        Raises:
            RobotError: none comes in time, s.
        """
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()
        if not self._first.wait(timeout):
            raise RobotError(f"camera: expected an image within {timeout} s, got none")
        self.reading()

    def reading(self) -> Reading:
        """Return the newest image.

        Raises:
            RobotError: there was none yet, or the thread has ended by an error.
        """
        with self._lock:
            if self._error is not None:
                raise RobotError(f"camera: {first_line(self._error)}") from self._error
            if self._reading is None:
                raise RobotError("camera: expected an image, got none yet")
            return self._reading

    def step(self) -> None:
        """Take one image: what the thread does again and again."""
        image = self._source.read()
        now = self._clock.now() - self._latency
        if image is None:
            return
        if image.ndim != 3 or image.shape[0] != 3 or image.dtype != np.uint8:
            raise ArgumentError(
                f"camera: expected uint8 [3, height, width], got {image.dtype} {list(image.shape)}"
            )
        checksum = zlib.crc32(np.ascontiguousarray(image).data)
        if checksum != self._checksum:
            self._checksum, self._changed = checksum, now
        was_frozen = self.is_frozen
        self.is_frozen = self._frozen_after is not None and now - self._changed > self._frozen_after
        if self.is_frozen != was_frozen:
            self._say("camera: frozen" if self.is_frozen else "camera: goes on")
        with self._lock:
            self.frames += 1
            # a frozen image is as old as its last change
            self._reading = Reading(image, self._changed if self.is_frozen else now)

    def close(self) -> None:
        """End the thread and let go of the source."""
        self._wish.set()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None
        self._source.close()

    def _run(self) -> None:
        try:
            while not self._wish.is_set():
                self.step()
                if self._reading is not None:
                    self._first.set()
        except Exception as error:
            with self._lock:
                self._error = error
            self._first.set()


class OpenCVSource:
    """A camera or stream that OpenCV opens; images are cut to a square and made small.

    Args:
        device: number of a camera, or a path or address.
        size: height and width of the images, pixels.
        settings: of `cv2.VideoCapture.set`, by number (`{cv2.CAP_PROP_FPS: 30}`).
    """

    def __init__(self, device: int | str, size: int = 96, settings: dict[int, float] | None = None) -> None:
        expect(size >= 1, "size", ">= 1 pixel", size)
        self._cv2 = need("cv2", "opencv-python-headless")
        self._capture: Any = self._cv2.VideoCapture(device)
        if not self._capture.isOpened():
            raise RobotError(f"camera {device}: expected one that opens, got none")
        for number, value in (settings or {}).items():
            self._capture.set(number, value)
        # the newest image, not the oldest that waits
        self._capture.set(self._cv2.CAP_PROP_BUFFERSIZE, 1)
        self._size = size

    @property
    def field(self) -> ObservationField:
        """What the camera measures."""
        return ObservationField((3, self._size, self._size), "uint8", low=0.0, high=255.0)

    def read(self) -> Array | None:
        """Return the next image."""
        is_there, image = self._capture.read()
        if not is_there:
            return None
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = image[top : top + side, left : left + side, ::-1]
        small = self._cv2.resize(square, (self._size, self._size), interpolation=self._cv2.INTER_AREA)
        return np.ascontiguousarray(small.transpose(2, 0, 1))

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()


class PlaybackSource:
    """Images of an array or a file, at a rate, again from the start at their end.

    Args:
        images: `[N, 3, height, width]` uint8, or a `.npy` file of them.
        rate_hz: images per second.
        clock: of the waiting.
    """

    def __init__(
        self,
        images: Sequence[Array] | Array | str | os.PathLike[str],
        rate_hz: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        expect(rate_hz > 0.0, "rate_hz", "> 0", rate_hz)
        if isinstance(images, str | os.PathLike):
            try:
                images = np.load(Path(images), allow_pickle=False)
            except (OSError, ValueError) as error:
                raise ArgumentError(f"images: expected a .npy file, got {first_line(error)}") from error
        self._images = np.asarray(images)
        shape = self._images.shape
        fits = len(shape) == 4 and shape[0] >= 1 and shape[1] == 3 and self._images.dtype == np.uint8
        expect(fits, "images", "uint8 [N, 3, height, width]", f"{self._images.dtype} {list(shape)}")
        self._clock, self._period, self._number = clock or MonotonicClock(), 1.0 / rate_hz, 0

    def read(self) -> Array | None:
        """Wait for the next image."""
        self._clock.sleep(self._period)
        image: Array = self._images[self._number % len(self._images)]
        self._number += 1
        return image

    def close(self) -> None:
        """Nothing is open."""
