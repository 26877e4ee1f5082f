"""Ctrl-C, SIGTERM and kill -9: an exit status, one line, and nothing left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_helpers import tiny_arguments
from commands import MAIN, ROOT, is_alive, run, start, wait_until, workers_of

from ibrl_fast.training.records.metrics import read_metrics

ENDLESS = {"--total-env-steps": 100_000, "--evaluation.every-env-steps": 200_000}


def leftovers(folder: Path) -> list[str]:
    """Files and folders of ours that are of no use to anyone."""
    return [path.name for path in folder.rglob("*") if "part" in path.name or path.name.startswith(".")]


# A command that says when it has taken the signals, before it imports anything that takes time
SAYING = """
import contextlib, signal
import ibrl_fast.cli as cli

signal.signal(signal.SIGINT, signal.default_int_handler)
take = cli.ended_by_signals


@contextlib.contextmanager
def take_and_say():
    with take() as begin:
        print("taken", flush=True)
        yield begin


cli.ended_by_signals = take_and_say
cli.main()
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.0, 2.0])
def test_while_starting(tmp_path: Path, demos_file: Path, number: int, status: int, seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SAYING, "train", *tiny_arguments(demos_file, tmp_path / "run", ENDLESS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None and process.stdout.readline() == "taken\n"
    time.sleep(seconds)
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == status, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_while_training(tmp_path: Path, demos_file: Path, number: int, status: int) -> None:
    folder = tmp_path / "run"
    changes = {**ENDLESS, "--evaluation.workers": 1}
    process = start("train", *tiny_arguments(demos_file, folder, changes))
    wait_until(lambda: any(record["kind"] == "train" for record in read_metrics(folder)), process)
    process.send_signal(number)
    out, errors = process.communicate(timeout=600)
    assert process.returncode == status, errors
    assert "Traceback" not in errors and f"ibrl-fast resume {folder}" in out
    assert leftovers(folder) == []


def test_twice_before_the_first_regular_checkpoint_can_be_resumed(tmp_path: Path, demos_file: Path) -> None:
    folder = tmp_path / "run"
    process = start("train", *tiny_arguments(demos_file, folder, ENDLESS))
    # the first training episode: imitation is over
    wait_until(lambda: any(record["kind"] == "episode" for record in read_metrics(folder)), process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130 and "Traceback" not in errors

    # the run goes on from there
    process = start("resume", folder)
    before = len(read_metrics(folder))
    wait_until(lambda: len(read_metrics(folder)) > before + 3, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)
    assert process.returncode == 143


@pytest.mark.parametrize("command", ["train", "eval"])
def test_kill_leaves_no_process_and_no_file(tmp_path: Path, demos_file: Path, command: str) -> None:
    folder = tmp_path / "run"
    if command == "eval":
        assert run("train", *tiny_arguments(demos_file, folder, {"--total-env-steps": 40}))[0] == 0
        arguments = ["eval", folder, "--episodes", "100000", "--workers", "2"]
    else:
        changes = {"--total-env-steps": 100_000, "--evaluation.workers": 2, "--evaluation.episodes": 2000}
        arguments = ["train", *tiny_arguments(demos_file, folder, changes)]
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    process = start(*arguments, env={"TMPDIR": str(scratch)})
    wait_until(lambda: len(workers_of(process.pid)) == 2, process)
    workers = workers_of(process.pid)
    time.sleep(2)
    process.kill()
    process.communicate()
    limit = time.monotonic() + 300
    while any(map(is_alive, workers)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))
    assert list(scratch.glob("ibrl*")) == []


def test_a_signal_that_the_process_ignores_stays_ignored(tmp_path: Path) -> None:
    code = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print(1, flush=True); {MAIN}"
    out = tmp_path / "demos.hdf5"
    command = [sys.executable, "-c", code, "demos", "reach", "--out", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline()
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert process.wait(timeout=600) == 0 and out.is_file()


def test_handlers_come_back(tmp_path: Path) -> None:
    out = str(tmp_path / "x.hdf5")
    code = f"""
import signal
from ibrl_fast.cli import main
mine = lambda *_: None
signal.signal(signal.SIGINT, mine), signal.signal(signal.SIGTERM, mine)
for arguments in (["--version"], ["demos", "reach", "--episodes", "1", "--out", {out!r}]):
    main(arguments)
assert signal.getsignal(signal.SIGINT) is signal.getsignal(signal.SIGTERM) is mine
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
