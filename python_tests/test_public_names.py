"""The package's short public list: complete, typed, and imported only when it is used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import ibrl_fast

SOURCE = Path(ibrl_fast.__file__)


@pytest.mark.parametrize("name", sorted(set(ibrl_fast.__all__) - {"__version__"}))
def test_every_name_is_there(name: str) -> None:
    value = getattr(ibrl_fast, name)
    assert value is getattr(ibrl_fast, name)
    assert name in dir(ibrl_fast)
    home = value if name == "presets" else importlib.import_module(value.__module__)
    assert home.__name__.startswith("ibrl_fast.")
    assert value.__doc__


def test_type_checkers_see_the_same_names() -> None:
    (block,) = [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If)]
    typed = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed | {"__version__"} == set(ibrl_fast.__all__)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'ibrl_fast' has no attribute 'Trainr'"):
        ibrl_fast.Trainr  # noqa: B018
    with pytest.raises(ImportError):
        from ibrl_fast import nothing  # noqa: F401


def test_importing_the_package_imports_no_part_of_it() -> None:
    code = """
import sys, ibrl_fast
print([name for name in sys.modules if name.startswith("ibrl_fast.") or name in ("torch", "mujoco")])
heavy = ("mujoco", "metaworld", "gymnasium", "tyro", "h5py")
import ibrl_fast.ops
print([name for name in heavy if name in sys.modules])
from ibrl_fast import load_policy
print([name for name in heavy if name in sys.modules])
"""
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SOURCE.parents[1]
    )
    assert out.stdout.split("\n") == ["[]", "[]", "[]", ""]
