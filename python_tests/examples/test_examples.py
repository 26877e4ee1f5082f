"""The examples run as their own texts say, here for few steps; none is longer than a screen or two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ibrl_fast
from ibrl_fast import load_policy, read_demonstrations
from ibrl_fast.training.config_file import load_config

EXAMPLES = Path(__file__).parents[2] / "examples"
FEW = ["--env-steps", "40", "--eval-episodes", "1"]


def run_example(name: str, *arguments: str) -> str:
    """Runs an example from the repository's root; returns what it prints."""
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        cwd=EXAMPLES.parent,
        env={**os.environ, "PYTHONPATH": str(Path(ibrl_fast.__file__).parents[1])},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_length() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) < 100, path.name


@pytest.mark.slow
def test_train(tmp_path: Path) -> None:
    out = run_example(
        "01_train.py", "--task", "reach", "--seed", "3", "--run-dir", str(tmp_path / "run"), *FEW
    )
    assert "imitation" in out and str(tmp_path / "run" / "policy.pt") in out
    config = load_config(tmp_path / "run")
    assert config.seed == 3 and config.env.task == "reach"
    assert (tmp_path / "run" / "policy.pt").is_file()


@pytest.mark.slow
def test_gymnasium_environment(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium_robotics", reason="needs the extra ibrl_fast[robotics]")
    out = run_example("04_gymnasium_environment.py", "--demos", "2", "--run-dir", str(tmp_path / "run"), *FEW)
    assert "imitation" in out and "final policy" in out
    demos = read_demonstrations(tmp_path / "run.hdf5")
    assert len(demos) == 2 and all(demo.success for demo in demos)
    contract = load_policy(tmp_path / "run" / "policy.pt").contract
    assert contract.metadata["state_keys"] == "observation,desired_goal"
    assert contract.observations["state"].shape == (28,) and contract.control_low is None


@pytest.mark.slow
def test_own_environment(tmp_path: Path) -> None:
    out = run_example("05_own_environment.py", "--run-dir", str(tmp_path / "run"), *FEW)
    assert "imitation" in out and "of (-2.0,) to (2.0,) Nm" in out
    assert all(demo.success for demo in read_demonstrations(tmp_path / "run" / "demos.hdf5"))
    assert load_policy(tmp_path / "run" / "policy.pt").contract.metadata["task"] == "own/pendulum"


@pytest.mark.slow
def test_own_demonstrations(tmp_path: Path) -> None:
    file = tmp_path / "own.hdf5"
    out = run_example(
        "02_own_demonstrations.py", "--out", str(file), "--run-dir", str(tmp_path / "run"), *FEW
    )
    assert "3 demonstrations of" in out and "final policy" in out
    demos = read_demonstrations(file)
    assert [demo.seed for demo in demos] == [0, 1, 2]
    assert all(demo.terminated[-1] for demo in demos)  # the controller solves the task
    assert (tmp_path / "run" / "policy.pt").is_file()


def test_run_on_a_robot(tmp_path: Path) -> None:
    pytest.importorskip("zmq", reason="needs the extra ibrl_fast[robot]")
    pytest.importorskip("msgpack", reason="needs the extra ibrl_fast[robot]")
    out = run_example("06_run_on_a_robot.py", "--episodes", "1", "--out", str(tmp_path))
    # how it ends depends on how busy the machine is; that it ends well is held by python_tests/robot
    assert "episode 0: " in out and "missed deadlines" in out
    assert (tmp_path / "robot_report.html").is_file() and (tmp_path / "limits.json").is_file()
