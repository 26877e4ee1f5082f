"""`train --seeds`: signals, exit statuses, going on, the table, and what is refused."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest
from cli_helpers import fails, tiny_arguments

from ibrl_fast.cli import main
from ibrl_fast.cli.repeated import take_numbers
from ibrl_fast.errors import ArgumentError
from ibrl_fast.training.records.metrics import read_metrics

sys.path.append(str(Path(__file__).parents[1] / "faults"))
sys.path.append(str(Path(__file__).parents[1] / "training"))

from commands import children_of, is_alive, run, start, wait_until
from training_helpers import differences, reproducible_content, reproducible_records

CHANGES = {"--total-env-steps": 800, "--evaluation.every-env-steps": 400}
GROUP_WORKER = "ibrl_fast.training.group.worker"


def train_in_all(folder: Path, seeds: tuple[int, ...]) -> bool:
    """Whether every seed is training."""
    runs = [folder / f"seed{seed}" for seed in seeds]
    return all(any(record["kind"] == "train" for record in read_metrics(run)) for run in runs)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_every_run_and_the_same_command_goes_on(
    tmp_path: Path, demos_file: Path, number: int, status: int
) -> None:
    folder = tmp_path / "runs"
    arguments = [*tiny_arguments(demos_file, folder, CHANGES), "--seeds", "0", "1", "2", "--jobs", "2"]
    process = start("train", *arguments)
    wait_until(lambda: train_in_all(folder, (0, 1)), process)
    process.send_signal(number)
    out, errors = process.communicate(timeout=600)
    assert process.returncode == status, errors
    assert "Traceback" not in errors and f"go on with: ibrl-fast resume {folder}" in out
    assert [(folder / f"seed{seed}" / "checkpoint.pt").exists() for seed in (0, 1, 2)] == [True, True, False]
    assert not (folder / "seed2").exists() and not list(folder.glob("*.log"))

    command = ["train", *arguments] if number == signal.SIGINT else ["resume", folder, "--jobs", 3]
    code, out, errors = run(*command)
    assert code == 0, errors
    assert not (tmp_path / "runs_2").exists() and (folder / "learning_curve.png").is_file()
    assert all(f"seed{seed}" in out for seed in (0, 1, 2)) and "IQM" in out

    # one of them alone
    alone = tmp_path / "alone"
    assert run("train", *tiny_arguments(demos_file, alone, CHANGES), "--seed", 1)[0] == 0
    assert differences(reproducible_records(alone), reproducible_records(folder / "seed1")) == []
    assert differences(reproducible_content(alone), reproducible_content(folder / "seed1")) == []


def test_runs_save_themselves_when_nobody_waits_for_them(tmp_path: Path, demos_file: Path) -> None:
    folder = tmp_path / "runs"
    endless = {**CHANGES, "--total-env-steps": 100_000}
    process = start("train", *tiny_arguments(demos_file, folder, endless), "--seeds", 0, 1, "--jobs", 2)
    wait_until(lambda: train_in_all(folder, (0, 1)), process)
    workers = children_of(process.pid, GROUP_WORKER)
    assert len(workers) == 2
    before = [(folder / f"seed{seed}" / "checkpoint.pt").stat().st_mtime_ns for seed in (0, 1)]
    process.kill()
    process.communicate()
    limit = time.monotonic() + 600
    while any(map(is_alive, workers)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))
    after = [(folder / f"seed{seed}" / "checkpoint.pt").stat().st_mtime_ns for seed in (0, 1)]
    assert all(now > then for now, then in zip(after, before, strict=True))
    assert not list(folder.glob("seed*/.lock"))


def test_failure_is_an_exit_status(tmp_path: Path, demos_file: Path) -> None:
    folder = tmp_path / "runs"
    changes = {"--demos": tmp_path / "missing.hdf5"}
    status, out, errors = run("train", *tiny_arguments(demos_file, folder, changes), "--seeds", 0)
    assert status == 1, errors
    assert "seed0 failed: " in out and "missing.hdf5" in out and "Traceback" not in errors
    # other runs do not go into that folder
    status, out, errors = run("train", *tiny_arguments(demos_file, folder), "--seeds", 0)
    assert status == 0, errors
    assert (tmp_path / "runs_2" / "seed0" / "policy.pt").is_file()
    assert run("report", tmp_path / "runs_2", "--out", tmp_path / "picture")[0] == 0
    assert (tmp_path / "picture" / "learning_curve.png").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--seeds",), "--seeds: expected whole numbers, got none"),
        (("--seeds", "1", "x"), "--seeds: expected whole numbers, got 1 x"),
        (("--seeds", "1", "1"), "seeds: expected different ones, got 1 1"),
        (("--seeds", "1", "--jobs", "2", "3"), "--jobs: expected a whole number, got 2 3"),
        (("--seeds", "1", "--jobs", "0"), "jobs: expected at least 1, got 0"),
        (("--jobs", "2"), "--jobs: expected --seeds beside it, got a single run"),
        (("--seeds", "1", "--seed", "2"), "--seed: expected none beside --seeds"),
        (("--seeds", "1", "--profile"), "--profile: expected none beside --seeds"),
    ],
)
def test_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    assert message in fails(capsys, "train", "--run-dir", str(tmp_path / "runs"), *flags)
    assert not (tmp_path / "runs").exists()


def test_jobs_of_a_single_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "jobs: expected none for a single run" in fails(capsys, "resume", str(tmp_path), "--jobs", "2")


def test_numbers_of_a_flag() -> None:
    assert take_numbers(["--a", "1", "--seeds", "0", "1", "--b"], "--seeds") == ([0, 1], ["--a", "1", "--b"])
    assert take_numbers(["--seeds=3", "--b", "--seeds", "4"], "--seeds") == ([3, 4], ["--b"])
    assert take_numbers(["--b", "c"], "--seeds") == (None, ["--b", "c"])
    with pytest.raises(ArgumentError, match="--seeds: expected whole numbers, got -1"):
        take_numbers(["--seeds", "-1"], "--seeds")


def test_help_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "--seeds 0 1 2" in capsys.readouterr().out
