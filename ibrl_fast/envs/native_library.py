"""What the native backend finds in other packages: MuJoCo's library and Meta-World's models."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from ibrl_fast import _core
from ibrl_fast.errors import UserError


class MujocoVersionError(UserError, RuntimeError):
    """The mujoco package is not of the version that the extension was built for."""


def load_mujoco() -> None:
    """Loads the mujoco package's own library, wherever that is installed, for the extension.

    Errors:
        MujocoVersionError: it is of another version.
        ImportError: there is no such package.
    """
    expected = _core.mujoco_version()
    folder = _find_package("mujoco")
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


def find_assets() -> Path:
    """Folder of Meta-World's models, without importing the package."""
    folder = _find_package("metaworld")
    if folder is None:
        raise RuntimeError("native pool: expected the metaworld package (its models), found none")
    return folder / "assets"


def _find_package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))
