"""robosuite's own environments, made without this package's classes around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ibrl_fast.envs.robosuite.package import import_robosuite, quiet
from ibrl_fast.envs.suite import find_package

TASKS = {"lift": "Lift", "can": "PickPlaceCan", "square": "NutAssemblySquare"}


def need_robosuite() -> None:
    """Skip the tests of a module where the package is missing."""
    if find_package("robosuite") is None:
        pytest.skip("robosuite is not installed (the extra of that name)", allow_module_level=True)


def make_plain(task: str, seed: int, **options: Any) -> Any:
    """An environment as robomimic makes it, its next reset a function of the seed."""
    robosuite = import_robosuite()
    with quiet():
        env = robosuite.make(
            TASKS[task],
            robots="Panda",
            has_renderer=False,
            control_freq=20,
            ignore_done=True,
            **{"has_offscreen_renderer": False, "use_camera_obs": False, **options},
        )
    env.rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
    return env


def reset_plain(env: Any) -> Any:
    """Observations after a reset, without robosuite's notices."""
    with quiet():
        return env.reset()


def join_state(observations: Any) -> np.ndarray:
    """`state` from the entries that robosuite observes."""
    keys = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "object-state")
    return np.concatenate([observations[key] for key in keys])
