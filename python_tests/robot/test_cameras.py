"""Cameras on a manual clock: time stamps, frozen images, errors; OpenCV where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ibrl_fast.errors import ArgumentError
from ibrl_fast.robot import ManualClock, MonotonicClock, RobotError
from ibrl_fast.robot.cameras import CameraThread, OpenCVSource, PlaybackSource


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 12, 12), dtype=np.uint8)


def test_images_carry_the_time_at_which_they_came() -> None:
    clock = ManualClock()
    shown = images(5)
    camera = CameraThread(PlaybackSource(shown, 10.0, clock), clock, latency=0.03)
    with pytest.raises(RobotError, match="none yet"):
        camera.reading()
    for number in range(7):
        camera.step()
        reading = camera.reading()
        np.testing.assert_array_equal(reading.value, shown[number % 5])
        assert reading.time == pytest.approx(100.0 + 0.1 * (number + 1) - 0.03)
    assert camera.frames == 7 and not camera.is_frozen


def test_a_frozen_camera_keeps_its_old_stamp_and_is_said_to() -> None:
    clock = ManualClock()
    lines: list[str] = []
    shown = np.concatenate([images(3), np.repeat(images(1, seed=1), 10, axis=0), images(2, seed=2)])
    camera = CameraThread(PlaybackSource(shown, 10.0, clock), clock, frozen_after=0.35, say=lines.append)
    stamps, frozen = [], []
    for _ in range(15):
        camera.step()
        stamps.append(round(camera.reading().time - 100.0, 3))
        frozen.append(camera.is_frozen)
    # image 3 comes first at 0.4 s; from 0.8 s on it is frozen, until 1.4 s
    assert frozen == [False] * 7 + [True] * 6 + [False] * 2
    assert stamps[:7] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert stamps[7:13] == [0.4] * 6 and stamps[13:] == [1.4, 1.5]
    assert lines == ["camera: frozen", "camera: goes on"]


def test_lost_images_leave_the_last_one_standing() -> None:
    clock = ManualClock()
    source = PlaybackSource(images(2), 10.0, clock)
    camera = CameraThread(source, clock)
    camera.step()
    before = camera.reading()
    source.read = lambda: None  # type: ignore[method-assign]
    clock.sleep(5.0)
    camera.step()
    assert camera.reading() is before and camera.frames == 1


def test_a_thread_starts_ends_and_hands_on_errors() -> None:
    camera = CameraThread(PlaybackSource(images(4), 500.0))
    camera.start(30.0)
    clock = MonotonicClock()
    end = clock.now() + 30.0
    while camera.frames < 3:
        assert clock.now() < end
        clock.sleep(0.002)
    camera.close()

    class Broken:
        def read(self) -> np.ndarray:
            return np.zeros((12, 12, 3), np.uint8)

        def close(self) -> None: ...

    broken = CameraThread(Broken())
    with pytest.raises(RobotError, match=r"camera: camera: expected uint8 \[3, height, width\]"):
        broken.start(30.0)
    broken.close()


def test_playback_of_files(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images(3))
    source = PlaybackSource(tmp_path / "images.npy", clock=ManualClock())
    np.testing.assert_array_equal(source.read(), images(3)[0])
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name in ("objects.npy", "none.npy"):
        with pytest.raises(ArgumentError, match=r"images: expected a \.npy file"):
            PlaybackSource(tmp_path / name)
    with pytest.raises(ArgumentError, match="images: expected uint8"):
        PlaybackSource(np.zeros((3, 12, 12, 3), np.uint8))


def test_opencv_plays_a_film(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
    film = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(film, cv2.VideoWriter_fourcc(*"MJPG"), 30, (160, 120))
    frame = np.zeros((120, 160, 3), np.uint8)
    frame[:, :80] = (0, 0, 255)  # OpenCV's order: red on the left half
    for _ in range(3):
        writer.write(frame)
    writer.release()
    source = OpenCVSource(film, size=32)
    image = source.read()
    assert image.shape == source.field.shape and image.dtype == np.uint8
    # red first, cut to the square in the middle
    assert image[0, :, :14].min() > 200 and image[2].max() < 60 and image[0, :, 18:].max() < 60
    while image is not None:
        image = source.read()
    source.close()
    with pytest.raises(RobotError, match="expected one that opens"):
        OpenCVSource(str(tmp_path / "none.avi"))
