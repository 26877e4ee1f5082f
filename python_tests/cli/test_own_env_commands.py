"""Users' Gymnasium environments on the command line, by their ids."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from cli_helpers import fails, tiny_arguments

sys.path.append(str(Path(__file__).parents[1] / "envs"))
import own_envs  # noqa: F401 - what the commands import by its name

from ibrl_fast import load_policy, read_demonstrations
from ibrl_fast.cli import main
from ibrl_fast.training.config_file import load_config

REACH = "gym:own_envs:ibrl-tests/Reach-v0"
Capsys = pytest.CaptureFixture[str]


def collect(file: Path, *arguments: str) -> None:
    env = ["--max-episode-steps", "11", "--state-keys", "arm.angle,goal,position", "steps"]
    main(
        [
            "demos",
            REACH,
            "--out",
            str(file),
            "--episodes",
            "2",
            "--expert",
            "own_envs:towards",
            *env,
            *arguments,
        ]
    )


def test_demos_train_resume_eval_export_report(tmp_path: Path, capsys: Capsys) -> None:
    file, run = tmp_path / "demos.hdf5", tmp_path / "run"
    collect(file)
    assert len(read_demonstrations(file)) == 2
    changes = {"--env.task": REACH, "--env.state-keys": "arm.angle,goal,position,steps"}
    main(["train", *tiny_arguments(file, run, changes)])
    main(["resume", str(run)])
    main(["eval", str(run), "--episodes", "2"])
    assert json.loads(capsys.readouterr().out.rpartition("\n{")[2].join(["{", ""]))["episodes"] == 2
    main(["export", str(run), "--out", str(tmp_path / "p.pt")])
    main(["report", str(run)])
    config = load_config(run)
    assert config.env.task == REACH
    assert config.env.state_keys == ("arm.angle", "goal", "position", "steps")
    assert load_policy(tmp_path / "p.pt").contract.control_high == (2.0, 10.0)
    # a folder named by the task has no colon
    assert str(load_config(run).resolved_run_dir()) == str(run)


def test_bc_takes_environment_options(tmp_path: Path) -> None:
    file = tmp_path / "demos.hdf5"
    collect(file, "--action-repeat", "1")
    arguments = ["bc", REACH, "--demos", str(file), "--run-dir", str(tmp_path / "bc"), "--updates", "5"]
    env = ["--env.action-repeat", "1", "--env.max-episode-steps", "11"]
    main([*arguments, *env])
    config = load_config(tmp_path / "bc")
    assert config.env.action_repeat == 1 and config.env.max_episode_steps == 11


@pytest.mark.parametrize(
    ("expert", "message"),
    [
        ("own_envs", "expert: expected MODULE:FUNCTION that can be imported, got own_envs"),
        ("own_envs:nothing", "got own_envs:nothing .*has no attribute 'nothing'"),
        ("no_such_module:act", "got no_such_module:act .*No module named 'no_such_module'"),
        ("own_envs:LOW", "got own_envs:LOW, a ndarray"),
    ],
)
def test_experts_that_are_not_there(tmp_path: Path, capsys: Capsys, expert: str, message: str) -> None:
    out = ["--out", str(tmp_path / "x.hdf5"), "--expert", expert]
    assert re.search(message, fails(capsys, "demos", REACH, *out))


def test_tasks_that_are_not_there(tmp_path: Path, capsys: Capsys) -> None:
    for task in ("gym:NoSuch-v0", "gym:CartPole-v1", "mine/task"):
        message = fails(capsys, "train", "--env.task", task, "--run-dir", str(tmp_path / "run"))
        assert task.removeprefix("gym:") in message and len(message.splitlines()) == 1


def test_folders_are_named_by_the_last_part_of_a_task() -> None:
    from ibrl_fast import EnvConfig, TrainConfig

    names = {REACH: "Reach-v0", "gym:Pendulum-v1": "Pendulum-v1", "gym:module:Env-v0": "Env-v0"}
    for task, name in names.items():
        folder = TrainConfig(env=EnvConfig(task=task)).resolved_run_dir()
        assert folder.name == f"{name}_ibrl_seed0"
