"""MuJoCo's Python package, whose import loads what `MUJOCO_GL` names: work on states must not need that."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from ibrl_fast import _core
from ibrl_fast.envs.native_library import load_mujoco

if TYPE_CHECKING:
    import mujoco
else:

    def _import() -> Any:
        try:
            return importlib.import_module("mujoco")
        except ModuleNotFoundError as error:
            if error.name == "mujoco":
                raise
        except Exception:  # a wish that it does not know, or a library that is not here
            pass
        wish = os.environ.get("MUJOCO_GL")
        os.environ["MUJOCO_GL"] = "disable"
        try:
            return importlib.import_module("mujoco")
        finally:
            del os.environ["MUJOCO_GL"]
            if wish is not None:
                os.environ["MUJOCO_GL"] = wish

    # another version is one message, before its package is imported
    if _core.with_mujoco:
        load_mujoco()
    mujoco = _import()

__all__ = ["mujoco"]
