"""When the physics of an environment has become unstable."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.checks import LARGEST
from ibrl_fast.envs.mujoco_package import mujoco

_INSTABILITIES = tuple(
    int(warning)
    for warning in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
        mujoco.mjtWarning.mjWARN_BADCTRL,
    )
)


def has_diverged(data: mujoco.MjData, values: npt.NDArray[Any]) -> bool:
    """Return whether MuJoCo warned, which resets itself when its state turns bad, or values are too large."""
    unstable = any(data.warning[index].number for index in _INSTABILITIES)
    return unstable or not (np.abs(values) <= LARGEST).all()
