"""The cube of Lift, whose size robosuite draws with every compiled model: here it is changed in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.mujoco_package import mujoco


def resize_cube(model: mujoco.MjModel, cube: Mapping[str, Any], half_size: npt.NDArray[np.float64]) -> None:
    """Make the model what robosuite compiles for a cube of these half sizes [3] (m).

    Sizes, bounds, mass and inertia of the cube are set, and what the compiler derives from them is computed
    again by MuJoCo (`mj_setConst`).

    Args:
        model: of Lift.
        cube: the entry of that name of its facts.
        half_size: along the cube's axes.
    """
    a, b, c = (float(value) for value in half_size)
    radius = float(np.sqrt(a * a + b * b + c * c))
    for geom in cube["geom_ids"]:
        model.geom_size[geom] = half_size
        model.geom_aabb[geom, 3:] = half_size
        model.geom_rbound[geom] = radius

    # a box of uniform density, about its axes
    body, mass = cube["body_id"], float(cube["density"]) * (8 * a * b * c)
    model.body_mass[body] = mass
    model.body_inertia[body] = mass * np.array([b * b + c * c, a * a + c * c, a * a + b * b]) / 3
    first, count = int(model.body_bvhadr[body]), int(model.body_bvhnum[body])
    model.bvh_aabb[first : first + count, 3:] = half_size

    # derived quantities are of the initial configuration
    mujoco.mj_setConst(model, mujoco.MjData(model))
