"""Ctrl-C: saves and ends with status 130; `resume` goes on. Before there is anything to save, it says so."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_helpers import tiny_arguments

import ibrl_fast
from ibrl_fast.cli import main
from ibrl_fast.training.records.metrics import read_metrics

ROOT = Path(ibrl_fast.__file__).parents[1]


def interrupt_when(ready: Callable[[], bool], *arguments: str) -> tuple[int, str, str]:
    """Runs `ibrl-fast`, sends SIGINT once `ready()`, and returns exit status, stdout and stderr."""
    # as from a terminal, also where these tests themselves run with Ctrl-C ignored
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    process = subprocess.Popen(
        [sys.executable, "-c", code + "from ibrl_fast.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        limit = time.monotonic() + 600
        while not ready() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=600)
    finally:
        process.kill()
    return process.returncode, out, errors


def test_training_is_saved_and_resumed(tmp_path: Path, demos_file: Path) -> None:
    run = tmp_path / "run"
    changes = {"--total-env-steps": 1200, "--evaluation.every-env-steps": 10_000, "--evaluation.workers": 1}

    def training() -> bool:
        return any(record["kind"] == "train" for record in read_metrics(run))

    status, out, errors = interrupt_when(training, "train", *tiny_arguments(demos_file, run, changes))
    assert status == 130, errors
    assert "Traceback" not in errors
    assert f"ibrl-fast resume {run}" in out
    assert (run / "checkpoint.pt").is_file() and not (run / "policy.pt").exists()
    assert read_metrics(run)[-1]["env_steps"] < 1200

    main(["resume", str(run)])
    last = read_metrics(run)[-1]
    assert last["kind"] == "summary" and last["env_steps"] == 1200
    assert (run / "policy.pt").is_file()


@pytest.mark.parametrize("phase", ["demonstrations", "imitation"])
def test_before_training_there_is_nothing_to_resume(tmp_path: Path, demos_file: Path, phase: str) -> None:
    run = tmp_path / "run"
    arguments = tiny_arguments(demos_file, run, {"--bc.updates": 1_000_000})
    first_file = run / "demos.hdf5"
    if phase == "demonstrations":
        where = arguments.index("--demos")
        del arguments[where : where + 2]
        arguments[arguments.index("--episodes") + 1] = "100000"
        arguments[arguments.index("--env.max-episode-steps") + 1] = "100"
        first_file = run / "config.json"
    status, out, errors = interrupt_when(first_file.exists, "train", *arguments)
    assert status == 130, errors
    assert errors.strip() == "ibrl-fast: interrupted"
    assert "resume" not in out
    assert not (run / "checkpoint.pt").exists()
