"""Flags that say how a file of demonstrations is read, of `train` and `bc` alike."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import pytest
from cli_helpers import fails, tiny_arguments

from ibrl_fast import read_demonstrations
from ibrl_fast.cli import main
from ibrl_fast.cli.repeated import join_repeated
from ibrl_fast.training.config import ImitationConfig
from ibrl_fast.training.config_file import load_config

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def other_file(tmp_path: Path, demos_file: Path) -> Path:
    """Demonstrations without rewards, of two entries in place of the state, with a filter key."""
    path = tmp_path / "other.hdf5"
    with h5py.File(demos_file) as source, h5py.File(path, "w") as file:
        for number, demo in enumerate(source["data"].values()):
            group = file.create_group(f"data/demo_{number}")
            group.attrs["num_samples"] = len(demo["actions"])
            group["actions"] = demo["actions"][()]
            state = demo["obs/state"][()]
            group["obs/eef"], group["obs/object"] = state[:, :9], state[:, 9:]
        file["mask/train"] = [b"demo_1"]
    return path


@pytest.mark.parametrize(
    "keys",
    [
        ["--demos.state-keys", "eef,object"],
        ["--demos.state-keys=eef,object"],
        ["--demos.state-keys", "eef", "object"],
        ["--demos.state-keys", "eef", "--demos.state_keys", "object"],
    ],
    ids=["commas", "equals", "values", "repeated"],
)
@pytest.mark.parametrize("command", ["train", "bc"])
def test_keys_that_are_joined(monkeypatch: pytest.MonkeyPatch, command: str, keys: list[str]) -> None:
    configs: list[ImitationConfig] = []

    def keep(config: ImitationConfig, **_: object) -> None:
        configs.append(config)
        sys.exit(0)

    monkeypatch.setattr("ibrl_fast.training.trainer.Trainer", keep)
    monkeypatch.setattr("ibrl_fast.training.imitation_trainer.ImitationTrainer", keep)
    task = ["assembly"] if command == "bc" else []
    with pytest.raises(SystemExit):
        main([command, *task, "--demos", "x.hdf5", *keys, "--demos.allow-mismatch", "True"])
    demos = configs[0].demos
    assert (demos.path, demos.state_keys) == (Path("x.hdf5"), ("eef", "object"))
    assert (demos.allow_mismatch, demos.proprio_keys, demos.filter_key) == (True, (), None)


def test_bc_of_a_file_for_imitation_alone(tmp_path: Path, other_file: Path, capsys: Capsys) -> None:
    run = tmp_path / "bc"
    flags = ["--demos", str(other_file), "--demos.filter-key", "train", "--demos.state-keys", "eef,object"]
    main(["bc", "assembly", *flags, "--run-dir", str(run), "--updates", "2"])
    assert "so they serve imitation alone" in " ".join(capsys.readouterr().out.split())
    assert load_config(run).demos.state_keys == ("eef", "object")
    demos = read_demonstrations(run / "demos.hdf5", needs_rewards=False)
    assert len(demos) == 1 and demos.observation_space["state"].shape == (39,)


def test_train_says_what_a_file_lacks_and_which_flag_helps(
    tmp_path: Path, other_file: Path, capsys: Capsys
) -> None:
    """From one message to the next, each flag as the last one named it."""
    arguments = ["train", *tiny_arguments(other_file, tmp_path / "run", {"--episodes": 1})]
    for words, flags in (
        ("rewards: expected a dataset, got none (demos.reward last sets", ["--demos.reward", "last"]),
        ("--demos.state-keys eef,object joins them", ["--demos.state-keys", "eef,object"]),
        ("mask: expected one of the filter keys ['train'], got 'valid'", ["--demos.filter-key", "train"]),
    ):
        wrong = ["--demos.filter-key", "valid"] if "mask" in words else []
        message = fails(capsys, *arguments, *wrong)
        assert words in message and str(other_file) in message and message.count("\n") == 0
        arguments += flags
    main([*arguments, "--total-env-steps", "20"])
    assert read_demonstrations(tmp_path / "run" / "demos.hdf5")[0].success


@pytest.mark.parametrize("command", ["train", "bc"])
def test_a_file_of_another_task(tmp_path: Path, demos_file: Path, capsys: Capsys, command: str) -> None:
    task = {"bc": ["reach"], "train": ["--task", "reach", "--episodes", "2"]}[command]
    run = tmp_path / "run"
    message = fails(capsys, command, *task, "--demos", str(demos_file), "--run-dir", str(run))
    assert "expected task metaworld/reach as in the run, got task metaworld/assembly" in message
    assert not run.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--demos.filter-key", "train"], "demos.filter_key: expected none without demos.path, got train"),
        (["--demos.reward", "last"], "demos.reward: expected recorded without demos.path, got last"),
        (["--demos.clip-actions", "True"], "demos.clip_actions: expected False without demos.path, got True"),
    ],
)
def test_flags_of_a_file_without_one(capsys: Capsys, flags: list[str], message: str) -> None:
    assert fails(capsys, "bc", "assembly", *flags).endswith(message)
    # what is wrong with a whole configuration comes in a box, whose lines are broken
    assert message in " ".join(fails(capsys, "train", *flags).replace("│", " ").replace("|", " ").split())


def test_values_of_repeated_flags_are_joined() -> None:
    arguments = ["a", "--x", "1", "--k", "a", "b", "--y=2", "--k=c", "d", "--k", "e"]
    assert join_repeated(arguments, ["--k"]) == ["a", "--x", "1", "--y=2", "d", "--k", "a", "b", "c", "e"]
    assert join_repeated(["--k"], ["--k"]) == ["--k"] and join_repeated(["a"], ["--k"]) == ["a"]
