"""The run's folder and other paths on the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cli_helpers import fails, tiny_arguments

from ibrl_fast import preset
from ibrl_fast.cli import main
from ibrl_fast.errors import ArgumentError

Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "run_dir",
    [
        "r/{date}", "r/{}", "r/{{x}}", "r{x}", "r{seed.__class__}", "{seed:>9}", "{0}", "{", "}", "r/{seed",
        ".", "..", "x/..", "/", "",
    ],
)  # fmt: skip
def test_a_folder_that_is_none(run_dir: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError) as error:
        replace(preset("quickstart"), run_dir=Path(run_dir))
    message = str(error.value)
    assert message.startswith("run_dir: expected a folder's name, with {task}, {method}, {seed} where")
    assert message.endswith(f"got {Path(run_dir)}")


def test_from_the_command_line(capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "run_dir: expected" in fails(capsys, "train", "--run-dir", "r/{date}")
    assert "run_dir: expected" in fails(capsys, "bc", "assembly", "--run-dir", "..")
    assert list(tmp_path.iterdir()) == []


def test_placeholders() -> None:
    config = replace(preset("quickstart"), run_dir=Path("r/{task}/{method}-{seed}{seed}"), seed=7)
    assert config.resolved_run_dir() == Path("r/assembly/ibrl-77")
    # what stands in a name is not filled in again
    assert replace(config, label="m").resolved_run_dir() == Path("r/assembly/m-77")
    for label in ("{seed}", "a/b", "x\0"):
        with pytest.raises(ArgumentError, match="label: expected a name"):
            replace(config, label=label)


@pytest.mark.parametrize("form", ["--run-dir=~/r", "--run-dir ~/r"])
def test_home_folder(
    form: str, tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.hdf5").write_bytes(demos_file.read_bytes())
    arguments = tiny_arguments(Path("~/mine.hdf5"), tmp_path / "no", {"--total-env-steps": 4})
    where = arguments.index("--run-dir")
    main(["train", *arguments[:where], *arguments[where + 2 :], *form.split(" ")])
    assert (tmp_path / "r" / "policy.pt").is_file()
    assert not (tmp_path / "~").exists() and not (tmp_path / "no").exists()
    main(["export", "~/r", "--out=~/out.pt"])
    assert (tmp_path / "out.pt").is_file()


def test_home_folder_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = replace(preset("quickstart"), run_dir=Path("~/r{seed}"))
    assert config.resolved_run_dir() == tmp_path / "r0"
    demos = replace(config.demos, path=Path("~/demos.hdf5"))
    assert demos.path == tmp_path / "demos.hdf5"


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--batch-size", "99999999999"),
        ("--seed", "99999999999999999999"),
        ("--num-threads", "1000000"),
        ("--evaluation.workers", "100000"),
        ("--evaluation.seed", "99999999999999999999"),
    ],
)
def test_slips_of_the_hand(capsys: Capsys, flag: str, value: str) -> None:
    message = fails(capsys, "train", flag, value)
    words = " ".join(message.replace("│", " ").split())  # a long message comes in several lines
    assert "at most" in words and f"got {value}" in words


def test_threads(demos_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    config = preset("metaworld_state")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert config.cpu_threads() == 3
    assert replace(config, num_threads=2).cpu_threads() == 2
    for value in ("4,2", " 4 "):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert config.cpu_threads() == 4
    for value in ("", "many", "0", "-1"):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert config.cpu_threads() >= 1

    # said once, and gone again after the run
    import torch

    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    main(["train", *tiny_arguments(demos_file, tmp_path / "run", {"--total-env-steps": 4})])
    assert capsys.readouterr().out.count("2 CPU threads, as OMP_NUM_THREADS asks") == 1
    assert torch.get_num_threads() == before
