"""The package's short public list: complete, typed, and imported only when it is used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import ibrl_fast
from ibrl_fast import _core

SOURCE = Path(ibrl_fast.__file__)


@pytest.mark.parametrize("name", sorted(set(ibrl_fast.__all__) - {"__version__"}))
def test_every_name_is_there(name: str) -> None:
    value = getattr(ibrl_fast, name)
    assert value is getattr(ibrl_fast, name)
    assert name in dir(ibrl_fast)
    home = value if name == "presets" else importlib.import_module(value.__module__)
    assert home.__name__.startswith("ibrl_fast.")
    assert value.__doc__


@pytest.mark.parametrize("part", ["", ".agents", ".data", ".envs", ".nn", ".robot"])
def test_type_checkers_see_the_same_names(part: str) -> None:
    package = importlib.import_module(f"ibrl_fast{part}")
    body = ast.parse(Path(package.__file__).read_text()).body
    (block,) = [node for node in body if isinstance(node, ast.If)]
    typed = {
        alias.name: f"{node.module}.{alias.name}" if hasattr(node, "module") else alias.name
        for node in block.body
        for alias in node.names
    }
    assert set(typed) | ({"__version__"} if not part else set()) == set(package.__all__)
    assert set(typed) <= set(dir(package))
    for name, home in typed.items():
        module, _, _ = home.rpartition(".")
        if name != "presets":
            assert getattr(package, name) is getattr(importlib.import_module(module), name)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'ibrl_fast' has no attribute 'Trainr'"):
        ibrl_fast.Trainr  # noqa: B018
    with pytest.raises(ImportError):
        from ibrl_fast import nothing  # noqa: F401


def test_importing_the_package_imports_no_part_of_it() -> None:
    code = """
import sys, ibrl_fast
parts = [name for name in sys.modules if name.startswith("ibrl_fast.") and name != "ibrl_fast.lazy"]
print(parts + [name for name in ("torch", "numpy", "mujoco") if name in sys.modules])
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


def test_the_stub_names_what_the_extension_has() -> None:
    body = ast.parse(SOURCE.with_name("_core.pyi").read_text()).body
    stub = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    stub |= {node.target.id for node in body if isinstance(node, ast.AnnAssign)}
    there = {name for name in dir(_core) if not name.startswith("_") and not name.endswith("_cuda")}
    assert there - stub == set()
