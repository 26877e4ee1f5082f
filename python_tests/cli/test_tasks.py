"""`ibrl-fast tasks`: the suites' own facts, all of them, quickly and in 80 columns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_helpers import fails

import ibrl_fast
from ibrl_fast import make_pool
from ibrl_fast.cli import main
from ibrl_fast.envs import Abilities, Suite, TaskInfo, registry
from ibrl_fast.envs.suite import find_package

Capsys = pytest.CaptureFixture[str]
ROOT = Path(ibrl_fast.__file__).parents[1]


@pytest.fixture
def arm_suite(monkeypatch: pytest.MonkeyPatch) -> Suite:
    """A suite of one task with everything that the list has a column for, whose package is not there."""
    task = TaskInfo(
        name="arm/lift",
        observations={"state": (1.0,) * 19, "proprio": (1.0,) * 9},
        action_dim=7,
        control_period=0.05,
        cameras=("agentview", "robot0_eye_in_hand"),
        abilities=Abilities(saves_state=True, parallel=False),
    )
    suite = Suite("arm", (task,), lambda *_: None, packages=("no_such_package",), install="pip install arm")
    monkeypatch.setattr(registry, "_REGISTERED", {"arm": suite})
    return suite


def test_json_has_every_task_as_its_pool_is(capsys: Capsys) -> None:
    main(["tasks", "--json"])
    listed = {task["name"]: task for task in json.loads(capsys.readouterr().out)}
    assert tuple(listed) == ibrl_fast.list_tasks()
    name = ibrl_fast.list_tasks()[0]
    if find_package("mujoco") is None or find_package("metaworld") is None:
        pytest.skip("the suite's packages are not installed")
    pool = make_pool(name)
    facts = listed[name]
    assert facts["observations"]["state"] == pool.single_observation_space["state"].shape[0]
    assert facts["action_dim"] == pool.single_action_space.shape[0]
    assert facts["control_period"] == pool.task.control_period
    assert facts["native"] == (type(pool).__name__ == "NativePool")
    assert facts["saves_state"] == pool.abilities.saves_state and facts["missing"] == []


def test_a_suite_whose_packages_are_missing(arm_suite: Suite, capsys: Capsys) -> None:
    main(["tasks", "arm", "--json"])
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["observations"] == {"state": 19, "proprio": 9} and facts["control_period"] == 0.05
    assert facts["cameras"] == ["agentview", "robot0_eye_in_hand"]
    assert (facts["missing"], facts["install"]) == (["no_such_package"], "pip install arm")
    assert (facts["expert"], facts["native"], facts["parallel"], facts["seeds"]) == (
        False,
        False,
        False,
        True,
    )

    main(["tasks", "arm"])
    out = capsys.readouterr().out
    assert "arm/TASK, 1 (needs no_such_package: pip install arm)" in " ".join(out.split())
    row = next(line for line in out.splitlines() if line.strip().startswith("lift"))
    assert row.split()[:6] == ["lift", "19", "9", "7", "50", "ms"] and row.split()[-1] == "SR"


def test_the_table_fits_a_pipe_and_names_the_door_to_gymnasium() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    command = [sys.executable, "-c", "from ibrl_fast.cli import main; main(['tasks'])"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=True)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    # no name is broken
    words = [line.split()[0] for line in lines if line.split()]
    assert {name.split("/", 1)[1] for name in ibrl_fast.list_tasks()} <= set(words)
    assert lines[-1].endswith(": gym:ID, such as gym:Pendulum-v1")


def test_nothing_heavy_is_imported() -> None:
    code = """
import sys
from ibrl_fast.cli import main
main(["tasks", "--json"])
heavy = ("torch", "mujoco", "gymnasium", "metaworld", "robosuite", "h5py", "matplotlib")
print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.strip() == "[]"


def test_an_unknown_suite(capsys: Capsys) -> None:
    known = ", ".join(registry.suite_names())
    message = fails(capsys, "tasks", "nothing")
    assert message == f"ibrl-fast: suite: expected one of {known}, got nothing"
