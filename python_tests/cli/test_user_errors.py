"""A user's mistake ends with exit status 2 and one message that names what is wrong and what is valid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cli_helpers import fails, tiny_arguments

import ibrl_fast

ROOT = Path(ibrl_fast.__file__).parents[1]
Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["trian", "tasks, demos, view, bc, train, resume, eval, export, report", "mean train?"]),
        (
            ["train", "quickstrat"],
            ["preset", "quickstart, metaworld_state, metaworld_pixel", "got quickstrat"],
        ),
        (["bc", "assembly", "--preset", "fast"], ["preset", "quickstart", "got fast"]),
        (["train", "--task", "asembly"], ["asembly", "metaworld/assembly"]),
        (["bc", "asembly"], ["asembly", "metaworld/assembly"]),
        (["demos", "asembly", "--out", "x.hdf5"], ["asembly", "metaworld/assembly"]),
        (["train", "--task", "robot/drawer"], ["robot/drawer", "not available yet"]),
        (["train", "real_robot"], ["robot/lift"]),
        (["train", "--batch-size", "0"], ["batch_size: expected at least 1, got 0"]),
        (["train", "--batch-size", "many"], ["batch-size"]),
        (["train", "--method", "sac"], ["method", "ibrl"]),
        (["train", "--sead", "3"], ["--sead"]),
        (["train", "--device", "cuda:77"], ["device: expected one that torch can use here, got cuda:77"]),
        (["train", "--device", "toaster"], ["device: expected one that torch can use here, got toaster"]),
        (["train", "--capture", "True"], ["capture: expected False or None on cpu", "got True"]),
        (["train", "--agent.precision", "tf32"], ["precision: expected fp32 or bf16 on cpu", "got tf32"]),
        (["train", "--bc.precision", "tf32"], ["precision: expected fp32 or bf16 on cpu", "got tf32"]),
        (["demos", "assembly"], ["--out"]),
        (
            ["demos", "assembly", "--out", "x.hdf5", "--episodes", "0"],
            ["episodes: expected an integer of at least 1, got 0"],
        ),
        (
            ["demos", "assembly", "--out", "x.hdf5", "--episodes", "1", "--max-episode-steps", "2"],
            ["metaworld/assembly: expected 1 successes in 20 episodes, got 0"],
        ),
        (
            ["demos", "convert", "nowhere.hdf5", "--out", "x.hdf5"],
            ["nowhere.hdf5: file: expected a file, got none"],
        ),
        (["demos", "convert", "x.hdf5", "--out", "y.hdf5", "--action-repeat", "2"], ["--action-repeat"]),
        (["demos", "download", "can"], ["dataset: expected one of lift-ph", "got 'can'"]),
        (["report"], ["runs: expected at least one run folder, got none"]),
        (["report", "nowhere"], ["nowhere", "config.json"]),
        (["eval", "nowhere"], ["policy: expected a run folder or an exported policy, got nowhere"]),
        (["export", "nowhere", "--out", "x.pt"], ["nowhere"]),
        (["resume", "nowhere"], ["nowhere"]),
        (["tasks", "nowhere"], ["suite: expected one of metaworld", "got nowhere"]),
        (["view", "nowhere"], ["nowhere: file: expected a file, got none"]),
    ],
    ids=lambda value: " ".join(value)[:50] if value and value[0].isalpha() else None,
)
def test_one_message(
    capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    message = fails(capsys, *arguments)
    for word in words:
        assert word in message
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_demonstrations_that_cannot_be_read(capsys: Capsys, tmp_path: Path, demos_file: Path) -> None:
    damaged = tmp_path / "damaged.hdf5"
    damaged.write_bytes(demos_file.read_bytes()[:2000])
    for path in (damaged, tmp_path / "missing.hdf5"):
        message = fails(capsys, "train", *tiny_arguments(path, tmp_path / "run"))
        assert str(path) in message and message.count("\n") == 0


def test_more_demonstrations_than_there_are(capsys: Capsys, tmp_path: Path, demos_file: Path) -> None:
    message = fails(capsys, "train", *tiny_arguments(demos_file, tmp_path / "run"), "--episodes", "3")
    assert f"demos {demos_file}: expected 3 demonstrations, got 2" in message


@pytest.mark.parametrize("command", ["resume", "export", "eval"])
def test_files_that_are_no_run(capsys: Capsys, tmp_path: Path, command: str) -> None:
    more = ["--out", str(tmp_path / "x.pt")] if command == "export" else []
    for name, content in (("text.pt", None), ("foreign.pt", {"weights": torch.ones(1)})):
        path = tmp_path / name
        torch.save(content, path) if content else path.write_text("hello")
        (tmp_path / "config.json").write_text('{"format": 2, "method": "ibrl"}')
        assert str(path) in fails(capsys, command, str(path), *more)


def test_no_traceback_from_the_real_command() -> None:
    code = "from ibrl_fast.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "train", "nonsense"], capture_output=True, text=True, cwd=ROOT
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("ibrl-fast: preset: expected one of quickstart")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "flags",
    [
        ("--network.critic.hidden", "1000000000000000"),
        ("--replay.capacity", "2000000000"),
    ],
)
def test_more_memory_than_there_is(
    capsys: Capsys, tmp_path: Path, demos_file: Path, flags: tuple[str, ...]
) -> None:
    arguments = tiny_arguments(demos_file, tmp_path / "run")
    message = fails(capsys, "train", *arguments, *flags)
    assert "memory" in message or "GiB" in message
    assert message.count("\n") == 0
