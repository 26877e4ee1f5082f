"""Poses relative to the hand in robosuite's arithmetic, which rounds to float32 on its way."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Pose = tuple[Vector, Vector]
"""Position [3] and quaternion x, y, z, w [4]."""


def pose_in_hand(hand: Pose, thing: Pose) -> Pose:
    """Return the pose of a thing in the frame of the hand, from both in the world.

    The quaternion's last entry is at least 0; it agrees with robosuite's to float32's precision, which takes
    an eigenvector where this takes the largest of four equal formulas.
    """
    hand_matrix, thing_matrix = _matrix(hand), _matrix(thing)
    rotation = hand_matrix[:3, :3].T.astype(np.float64)
    position = rotation @ thing_matrix[:3, 3] - rotation @ hand_matrix[:3, 3]
    return position, _quaternion((rotation @ thing_matrix[:3, :3]).astype(np.float32))


def _matrix(pose: Pose) -> npt.NDArray[np.float32]:
    """Return a pose as matrix [4, 4]."""
    x, y, z, w = np.asarray(pose[1], dtype=np.float32) / np.float32(np.linalg.norm(pose[1]))
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = pose[0]
    return matrix


def _quaternion(matrix: npt.NDArray[np.float32]) -> Vector:
    """Return the unit quaternion x, y, z, w of a rotation matrix [3, 3], w at least 0."""
    m = matrix.astype(np.float64)
    # four times the products of each entry with all of them; the largest diagonal one is divided by safely
    products = np.empty((4, 4))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        products[i, i] = 1 + m[i, i] - m[j, j] - m[k, k]
        products[i, j] = products[j, i] = m[i, j] + m[j, i]
        products[i, 3] = products[3, i] = m[k, j] - m[j, k]
    products[3, 3] = 1 + m[0, 0] + m[1, 1] + m[2, 2]
    quaternion = products[int(np.argmax(np.diag(products)))]
    quaternion = quaternion / np.linalg.norm(quaternion)
    return -quaternion if quaternion[3] < 0 else quaternion
