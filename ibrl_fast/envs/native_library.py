"""MuJoCo's library for the native backend, from MuJoCo's package."""

from __future__ import annotations

import importlib.metadata

from ibrl_fast import _core
from ibrl_fast.envs.suite import find_package
from ibrl_fast.errors import UserError


class MujocoVersionError(UserError, RuntimeError):
    """The mujoco package is not of the version that the extension was built for."""


def load_mujoco() -> None:
    """Load the mujoco package's own library, wherever that is installed, for the extension.

    Raises:
        MujocoVersionError: it is of another version.
        ImportError: there is no such package.
    """
    expected = _core.mujoco_version()
    folder = find_package("mujoco")
    if folder is None:
        raise ImportError(f"mujoco: expected {expected}, got no such package", name="mujoco")
    library = folder / f"libmujoco.so.{expected}"
    if not library.is_file():
        others = sorted(path.name.removeprefix("libmujoco.so.") for path in folder.glob("libmujoco.so.*"))
        try:
            version = others[0] if others else importlib.metadata.version("mujoco")
        except importlib.metadata.PackageNotFoundError:
            version = "a package without its library"
        raise MujocoVersionError(
            f"mujoco: expected {expected}, got {version} ({folder}); install mujoco=={expected}"
        )
    _core.load_mujoco(str(library))
