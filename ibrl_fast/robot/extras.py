"""Packages that only parts of this room need, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from ibrl_fast.errors import UserError


class MissingExtraError(UserError, ImportError):
    """A package that is not installed."""


def need(module: str, install: str) -> Any:
    """Import a module, or say what installs it.

    Args:
        module: its name, `zmq`.
        install: what pip installs it by.

    Raises:
        MissingExtraError: it is not there.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{module}: expected the package, got none; pip install '{install}'"
        ) from error
