"""The parts of the package depend on each other one way only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ibrl_fast

ROOT = Path(ibrl_fast.__file__).parent

# part -> the parts that it may import (besides itself)
ALLOWED = {
    "ops": {"_core"},
    "data": {"ops"},
    "nn": {"ops"},
    "envs": {"_core"},
    "agents": {"ops", "nn", "data"},
    "deploy": {"nn"},
    "training": {"ops", "nn", "data", "envs", "agents", "deploy"},
    "robot": {"deploy", "data"},
    "cli": {"data", "envs", "agents", "deploy", "training", "robot"},
}
# every part may import these single files of the package's root
SHARED = {"errors", "fields", "files", "lazy", "memory", "seeding"}

# what a machine that only trains, or only runs a policy, need not have
HEAVY = ("mujoco", "metaworld", "gymnasium", "tyro", "imageio", "matplotlib", "tensorboard")


def imported_parts(file: Path) -> Iterator[str]:
    """The parts of ibrl_fast that a file imports, wherever in the file."""
    package = ("ibrl_fast", *file.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for name in names:
            if name[0] == "ibrl_fast" and len(name) > 1 and not name[1].startswith("__version"):
                yield name[1]


def backward_edges(files: list[Path]) -> list[str]:
    """ "file -> part" for each import that the table does not allow."""
    edges = []
    for file in files:
        relative = file.relative_to(ROOT)
        if len(relative.parts) == 1:  # ibrl_fast/__init__.py gathers the public names
            continue
        part = relative.parts[0]
        allowed = ALLOWED[part] | {part} | SHARED
        edges += [f"{relative} -> {other}" for other in imported_parts(file) if other not in allowed]
    return edges


def test_imports_go_one_way() -> None:
    files = sorted(ROOT.rglob("*.py"))
    assert len(files) > 10
    assert backward_edges(files) == []


def test_backward_edge_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALLOWED, "ops", set())
    assert "ops/_registry.py -> _core" in backward_edges([ROOT / "ops" / "_registry.py"])


@pytest.mark.parametrize("part", ["ops", "nn", "data", "agents"])
def test_learner_imports_without_simulators(part: str) -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r})); import ibrl_fast.{part}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)


def test_a_robot_needs_torch_and_an_exported_file() -> None:
    training = tuple(f"ibrl_fast.{part}" for part in ("agents", "envs", "training", "ops", "nn", "_core"))
    code = f"""
import sys
sys.modules.update(dict.fromkeys({HEAVY!r}))
from ibrl_fast.robot import MockRobot, RobotClient, SafetyLimits, learn_limits
import ibrl_fast.robot.recording, ibrl_fast.robot.remote, ibrl_fast.robot.server, ibrl_fast.robot.success
import ibrl_fast.robot.cameras, ibrl_fast.robot.adapters.robotiq
print([name for name in sys.modules if name.startswith({training!r})])
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT.parent, capture_output=True, text=True
    )
    assert ended.stdout == "[]\n"
