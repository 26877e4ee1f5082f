"""Rotations against scipy's."""

from __future__ import annotations

import numpy as np
import pytest

from ibrl_fast.robot import rotations

reference = pytest.importorskip("scipy.spatial.transform").Rotation


def test_against_scipy() -> None:
    random = np.random.default_rng(0)
    for scale in (0.0, 1e-12, 1e-6, 1e-2, 1.0):
        for _ in range(50):
            one, other = scale * random.standard_normal((2, 3))
            a, b = reference.from_rotvec(one), reference.from_rotvec(other)
            np.testing.assert_allclose(rotations.from_vector(one), a.as_quat(), atol=1e-15)
            np.testing.assert_allclose(rotations.to_vector(a.as_quat()), a.as_rotvec(), atol=1e-14)
            product = rotations.multiply(a.as_quat(), b.as_quat())
            np.testing.assert_allclose(np.abs(product @ (a * b).as_quat()), 1.0, atol=1e-14)
            angle = rotations.angle_between(a.as_quat(), b.as_quat())
            np.testing.assert_allclose(angle, (b * a.inv()).magnitude(), atol=1e-12)
            np.testing.assert_allclose(
                rotations.multiply(a.as_quat(), rotations.inverse(a.as_quat())), [0, 0, 0, 1], atol=1e-15
            )


def test_mean_against_scipy() -> None:
    random = np.random.default_rng(1)
    base = reference.from_rotvec([1.5, -0.3, 2.0])
    turns = reference.from_rotvec(0.2 * random.standard_normal((30, 3))) * base
    signs = random.choice([-1.0, 1.0], (30, 1))
    mean = rotations.mean_rotation(signs * turns.as_quat())
    assert abs(mean @ turns.mean().as_quat()) == pytest.approx(1.0, abs=1e-12)
