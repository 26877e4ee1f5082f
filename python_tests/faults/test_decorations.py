"""What decorates a run (video, pictures, profile) cannot fail it; its policy and results are there before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_helpers import tiny_arguments
from commands import run

from ibrl_fast import load_policy
from ibrl_fast.cli import main
from ibrl_fast.training import finish
from ibrl_fast.training.records.metrics import read_metrics


@pytest.mark.parametrize("workers", [0, 1])
def test_a_video_that_cannot_be_written(tmp_path: Path, demos_file: Path, workers: int) -> None:
    folder = tmp_path / "run"
    changes = {"--total-env-steps": 4, "--evaluation.video-episodes": 1, "--evaluation.workers": workers}
    status, out, errors = run(
        "train",
        *tiny_arguments(demos_file, folder, changes),
        env={"IMAGEIO_FFMPEG_EXE": "/nonexistent/ffmpeg"},
    )
    assert status == 0, errors
    assert "no video: " in out and "Traceback" not in out + errors
    assert not (folder / "rollouts.mp4").exists()
    assert_complete(folder)


def test_pictures_that_cannot_be_drawn(
    tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the printer is on fire\nand more")

    monkeypatch.setattr(finish, "plot_phase_seconds", fail)
    folder = tmp_path / "run"
    main(["train", *tiny_arguments(demos_file, folder, {"--total-env-steps": 4})])
    assert "no pictures: the printer is on fire\n" in capsys.readouterr().out
    assert_complete(folder)


def test_the_policy_is_there_when_the_last_evaluation_fails(
    tmp_path: Path, demos_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    monkeypatch.setattr(finish, "can_film", fail)
    with pytest.raises(SystemExit):
        main(["train", *tiny_arguments(demos_file, folder, {"--evaluation.video-episodes": 1})])
    assert load_policy(folder / "policy.pt").contract.action_dim == 4
    monkeypatch.undo()
    main(["resume", str(folder)])
    assert_complete(folder)


def test_a_video_that_was_asked_for_is_an_error(tmp_path: Path, demos_file: Path) -> None:
    folder = tmp_path / "run"
    main(["train", *tiny_arguments(demos_file, folder, {"--total-env-steps": 4})])
    status, out, errors = run(
        *("eval", folder, "--episodes", 2, "--video", tmp_path / "x.mp4", "--workers", 0),
        env={"IMAGEIO_FFMPEG_EXE": "/nonexistent/ffmpeg"},
    )
    assert status == 2 and json.loads(out)["episodes"] == 2
    assert errors.startswith(f"ibrl-fast: video {tmp_path / 'x.mp4'}: ") and errors.count("\n") == 1


def assert_complete(folder: Path) -> None:
    assert load_policy(folder / "policy.pt").contract.action_dim == 4
    assert json.loads((folder / "summary.json").read_text())["success_rate"] is not None
    assert read_metrics(folder)[-1]["kind"] == "summary"
