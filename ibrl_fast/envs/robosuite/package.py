"""robosuite's package, imported and called without what it does to the process: log lines and MUJOCO_GL."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ibrl_fast.envs.mujoco_package import mujoco
from ibrl_fast.envs.suite import MissingPackageError, find_package
from ibrl_fast.errors import UserError

__all__ = ["INSTALL", "VERSION", "RobosuiteVersionError", "import_robosuite", "make_published", "quiet"]

VERSION = "1.5.2"
"""The version whose behaviour the tasks have."""
INSTALL = "pip install 'ibrl_fast[robosuite]'"


class RobosuiteVersionError(UserError, RuntimeError):
    """robosuite is there in another version."""


class _ErrorsAlone(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Let errors pass."""
        return record.levelno >= logging.ERROR


@contextmanager
def quiet() -> Iterator[None]:
    """Keep robosuite's notices (macros, controller files, optional robots) off the terminal."""
    logger, only_errors = logging.getLogger("robosuite_logs"), _ErrorsAlone()
    logger.addFilter(only_errors)
    wish = os.environ.get("MUJOCO_GL")
    try:
        yield
    finally:
        logger.removeFilter(only_errors)
        # it asks for EGL whenever it is imported
        os.environ.pop("MUJOCO_GL", None)
        if wish is not None:
            os.environ["MUJOCO_GL"] = wish


def import_robosuite() -> Any:
    """Return the package.

    Raises:
        MissingPackageError: it is not installed.
        RobosuiteVersionError: another version is.
    """
    if find_package("robosuite") is None:
        raise MissingPackageError(
            f"robosuite: expected the package robosuite, found none; {INSTALL}", name="robosuite"
        )
    version = importlib.metadata.version("robosuite")
    if version != VERSION:
        raise RobosuiteVersionError(f"robosuite: expected {VERSION}, got {version}; {INSTALL}")
    with quiet():
        return importlib.import_module("robosuite")


def make_published(env_name: str, seed: int | None, **options: Any) -> Any:
    """Make one of robosuite's environments as robomimic does: Panda, its default controller, 20 Hz.

    Args:
        env_name: class of the environment.
        seed: of its random numbers.
        options: of the class, beside these.
    """
    robosuite = import_robosuite()
    with quiet():
        return robosuite.make(
            env_name,
            robots="Panda",
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            use_object_obs=True,
            ignore_done=True,
            control_freq=20,
            seed=seed,
            **options,
        )


def hide_collision_geoms(model: mujoco.MjModel) -> None:
    """Move shapes for contacts to a group that is not drawn by default; robosuite's own renderer hides them.

    Groups of geoms play no part in the physics.
    """
    model.geom_group[model.geom_group == 0] = 3
