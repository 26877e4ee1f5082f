"""Where a command writes is looked at before it works: folders are made, what cannot be is one message."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cli_helpers import fails, tiny_arguments

from ibrl_fast import read_demonstrations
from ibrl_fast.cli import main

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, demos_file: Path) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("outputs") / "run"
    main(["train", *tiny_arguments(demos_file, folder, {"--total-env-steps": 4})])
    return folder


def forbid_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a command would do fails loudly."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr("ibrl_fast.training.collect_demos.collect_demonstrations", work)
    monkeypatch.setattr("ibrl_fast.training.learners.load_policy_module", work)
    monkeypatch.setattr("ibrl_fast.training.records.report.write_report", work)
    monkeypatch.setattr("ibrl_fast.training.viewing.view.read_view", work)


def commands(run: Path, out: str | Path) -> list[list[str]]:
    """Every command that writes where it is told to."""
    return [
        ["demos", "assembly", "--episodes", "1", "--out", str(out)],
        ["export", str(run), "--out", str(out)],
        ["eval", str(run), "--episodes", "1", "--video", str(out)],
        ["report", str(run), "--out", str(out)],
        ["view", str(run), "--out", str(out)],
    ]


# these write into a folder
INTO_FOLDERS = (3, 4)


@pytest.mark.parametrize("number", range(5))
def test_nothing_is_begun_for_an_output_that_cannot_be(
    run: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    forbid_work(monkeypatch)
    places = ["/dev/full", tmp_path / "file" / "x", tmp_path / "pipe", "/proc/nothing/x"]
    places += [] if number in INTO_FOLDERS else [tmp_path / "folder"]
    for place in places:
        command = commands(run, place)[number]
        message = fails(capsys, *command)
        name = {"--video": "video"}.get(command[-2], "out")
        assert message.startswith(f"ibrl-fast: {name}: ") and message.count("\n") == 0, message
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "pipe"]


def test_folders_are_made(run: Path, tmp_path: Path) -> None:
    for number, command in enumerate(commands(run, tmp_path / "new" / "dir" / "x.mp4")):
        if number not in INTO_FOLDERS:
            main(command)
            assert (tmp_path / "new" / "dir" / "x.mp4").is_file()
            (tmp_path / "new" / "dir" / "x.mp4").unlink()
    main(commands(run, tmp_path / "other" / "dir")[3])
    assert (tmp_path / "other" / "dir" / "learning_curve.png").is_file()
    main(commands(run, tmp_path / "view" / "dir")[4])
    assert (tmp_path / "view" / "dir" / "signals.png").is_file()


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.hdf5").symlink_to(tmp_path / "real" / "demos.hdf5")
    main(["demos", "assembly", "--episodes", "1", "--out", str(tmp_path / "link.hdf5")])
    assert (tmp_path / "link.hdf5").is_symlink()
    assert len(read_demonstrations(tmp_path / "real" / "demos.hdf5")) == 1


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_files_have_the_mode_that_the_umask_says(tmp_path: Path, demos_file: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        main(["train", *tiny_arguments(demos_file, tmp_path / "run", {"--total-env-steps": 4})])
        main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "run" / "other.pt")])
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").iterdir()}
    assert {"checkpoint.pt", "policy.pt", "demos.hdf5", "config.json", "metrics.jsonl"} <= set(modes)
    assert {name: mode for name, mode in modes.items() if mode != 0o666 & ~mask} == {}
