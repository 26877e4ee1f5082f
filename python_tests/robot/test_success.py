"""Detectors on written numbers, on images that are drawn here, with noise of seeds, and on whole episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from robot_helpers import STATE, lift, make_client

from ibrl_fast.errors import ArgumentError
from ibrl_fast.robot import Observation, Reading, RobotState
from ibrl_fast.robot.success import (
    DrawerSuccess,
    HangSuccess,
    LiftSuccess,
    is_hanging,
    is_lifted,
    is_patch_visible,
    red_pixels,
)

HELD = {"widths": [0.04] * 6, "targets": [0.0] * 6}


def test_lifted() -> None:
    assert is_lifted(**HELD, heights=[0.1, 0.1, 0.1, 0.105, 0.11, 0.121])
    # not high enough; not still; not squeezing; held for too short a time
    assert not is_lifted(**HELD, heights=[0.1, 0.1, 0.1, 0.105, 0.11, 0.119])
    rising = [0.1, 0.1, 0.1, 0.12, 0.14, 0.16]
    assert not is_lifted([0.06, 0.055, 0.05, 0.046, 0.043, 0.04], [0.0] * 6, rising)
    assert not is_lifted([0.04] * 6, [0.039] * 6, rising)
    assert not is_lifted([0.04] * 6, [0.085] * 6, rising)
    assert not is_lifted([0.04] * 2, [0.0] * 2, [0.1, 0.2])
    assert not is_lifted([], [], [])
    # an empty gripper closes all the way: it is not wider than it was told to be
    assert not is_lifted([0.0] * 6, [0.0] * 6, rising)
    # what it rose before it held does not count
    assert not is_lifted([0.08, 0.06, 0.04, 0.04, 0.04, 0.04], [0.0] * 6, [0.0, 0.1, 0.2, 0.2, 0.2, 0.21])
    # lost and grasped again: only the second hold counts
    widths = [0.04, 0.04, 0.04, 0.02, 0.03, 0.03, 0.03]
    assert not is_lifted(widths, [0.0] * 7, [0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.21])
    # it went down first
    assert is_lifted(**HELD, heights=[0.12, 0.12, 0.11, 0.1, 0.11, 0.121])
    # a gripper that is stuck open
    assert not is_lifted([0.085] * 6, [0.0] * 6, rising)


def draw(
    rows: slice = slice(0, 0), columns: slice = slice(20, 40), noise: float = 0.0, seed: int = 0
) -> np.ndarray:
    """A grey room 96 x 96 with a wooden table, a blue tool and a red thing at some rows."""
    random = np.random.default_rng(seed)
    image = np.full((3, 96, 96), 130.0)
    image[:, 60:] = np.array([150.0, 120.0, 90.0])[:, None, None]
    image[:, 10:30, 70:90] = np.array([40.0, 60.0, 160.0])[:, None, None]
    image[:, rows, columns] = np.array([190.0, 40.0, 45.0])[:, None, None]
    image += noise * random.standard_normal(image.shape)
    image *= random.uniform(0.85, 1.15) if noise else 1.0  # light
    dots = random.random((96, 96)) < 0.01 * bool(noise)  # broken pixels
    image[:, dots] = random.choice([0.0, 255.0], (3, int(dots.sum())))
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0.0, 8.0, 15.0])
@pytest.mark.parametrize("seed", range(5))
def test_red_pixels_of_noisy_images(noise: float, seed: int) -> None:
    truth = np.zeros((96, 96), dtype=bool)
    truth[30:50, 20:40] = True
    found = red_pixels(draw(slice(30, 50), noise=noise, seed=seed))
    assert not (found & ~truth).any()
    assert found[truth].mean() > 0.85
    assert red_pixels(draw(noise=noise, seed=seed)).sum() == 0
    assert is_patch_visible(draw(slice(30, 37), slice(20, 28), noise, seed))
    assert not is_patch_visible(draw(noise=noise, seed=seed))


def test_only_whole_images_are_taken() -> None:
    for image in (np.zeros((96, 96, 3), np.uint8), np.zeros((3, 9, 9)), np.zeros((9, 9), np.uint8)):
        with pytest.raises(ArgumentError, match="image: expected uint8"):
            red_pixels(image)
    assert red_pixels(np.full((3, 2, 2), 255, np.uint8)).sum() == 0


@pytest.mark.parametrize("noise", [0.0, 8.0, 15.0])
def test_hanging(noise: float) -> None:
    def images(tops: Sequence[int]) -> list[np.ndarray]:
        return [draw(slice(top, top + 30), noise=noise, seed=seed) for seed, top in enumerate(tops)]

    options = {"open_width": 0.075, "line": 42, "change": 0.3}
    assert is_hanging(images([40] * 4), 0.08, **options)
    assert not is_hanging(images([40] * 4), 0.07, **options)  # not let go
    assert not is_hanging(images([50] * 4), 0.08, **options)  # on the table
    assert not is_hanging(images([20, 28, 34, 40]), 0.08, **options)  # still falling
    assert not is_hanging([draw(noise=noise)] * 4, 0.08, **options)  # no cloth


def observation(width: float, image: np.ndarray, time: float) -> Observation:
    state = RobotState(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), width, width, time)
    return Observation({"side": Reading(image, time)}, state)


def test_detectors_of_cameras() -> None:
    patch, nothing = draw(slice(10, 20)), draw()
    drawer = DrawerSuccess("side")
    assert not drawer([observation(0.08, patch, 0.0)])
    assert drawer(
        [observation(0.08, nothing, 0.0), observation(0.08, patch, 0.1), observation(0.08, patch, 0.2)]
    )
    assert not drawer([observation(0.08, patch, 0.1), observation(0.08, nothing, 0.2)])
    # the same image delivered twice is no second witness
    assert not drawer([observation(0.08, patch, 0.1), observation(0.08, patch, 0.1)])
    hang = HangSuccess("side", line=12, frames=3)
    seen = [observation(0.08, patch, 0.1 * n) for n in range(3)]
    assert hang(seen) and not hang(seen[:2]) and not HangSuccess("side", line=9, frames=3)(seen)
    with pytest.raises(ArgumentError, match=r"camera: expected one of \['side'\], got front"):
        DrawerSuccess("front")(seen)
    for options in ({"frames": 1}, {"line": -1}, {"pixels": 0}):
        with pytest.raises(ArgumentError, match=next(iter(options))):
            HangSuccess(**{"camera": "side", "line": 5, **options})


def test_the_mock_lifts_its_block_and_is_seen_to() -> None:
    client, robot, _, _ = make_client(lift, fields=STATE, success=LiftSuccess(), max_steps=75, seed=2)
    client.arm()
    for _ in range(3):
        episode = client.run_episode()
        assert episode.outcome == "success" and robot.block[2] > 0.065
    robot.faults.gripper_stuck = True
    assert client.run_episode().outcome == "time limit"
