"""A run's folder belongs to one process at a time, whichever way that process ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fault_helpers import ROOT

from ibrl_fast.errors import ArgumentError, FileError
from ibrl_fast.training.records.run_folder import LOCK_NAME, OWN_NAMES, RUN_NAMES, claim, reopen

HOLDER = """
import os, subprocess, sys, time
from ibrl_fast.training.records.run_folder import claim
folder = claim(sys.argv[1])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
forked = os.fork()
if forked == 0:
    time.sleep(600)
print(child.pid, forked, flush=True)
time.sleep(600)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_claim_and_close_leave_an_empty_folder(tmp_path: Path) -> None:
    with claim(tmp_path / "new" / "run") as folder:
        assert folder.path == tmp_path / "new" / "run"
        assert (folder.path / LOCK_NAME).read_text() == f"{os.getpid()}\n"
    folder.close()
    assert names(tmp_path / "new" / "run") == []
    claim(tmp_path / "new" / "run").close()


@pytest.mark.parametrize("take", [claim, reopen])
def test_one_at_a_time_in_one_process(tmp_path: Path, take) -> None:
    with claim(tmp_path):
        message = f"run_dir: expected a folder that no other run works in, got {tmp_path} "
        with pytest.raises(ArgumentError, match=re.escape(f"{message}(process {os.getpid()} does)")):
            take(tmp_path)
    take(tmp_path).close()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_ends_with_its_process_and_not_with_its_children(
    tmp_path: Path, end: signal.Signals
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert holder.stdout is not None
    children = [int(pid) for pid in holder.stdout.readline().split()]
    try:
        with pytest.raises(ArgumentError, match=rf"got {tmp_path} \(process {holder.pid} does\)"):
            reopen(tmp_path)
        holder.send_signal(end)
        holder.wait()
        for pid in children:
            os.kill(pid, 0)  # still there
        with reopen(tmp_path):
            assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        holder.stdout.close()


def test_a_lock_file_that_was_removed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking it: the lock must be on the file that others see."""
    from ibrl_fast.training.records import run_folder

    flock, calls = run_folder.fcntl.flock, []

    def slow(handle: int, how: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            (tmp_path / LOCK_NAME).unlink()
        flock(handle, how)

    monkeypatch.setattr(run_folder.fcntl, "flock", slow)
    with claim(tmp_path) as folder:
        assert len(calls) == 2
        assert os.path.samestat(os.fstat(folder._handle), os.stat(tmp_path / LOCK_NAME))


@pytest.mark.parametrize("name", RUN_NAMES)
def test_a_run_is_not_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("old")
    message = f"run_dir: expected a folder without a run, got {tmp_path}; overwrite=True replaces it"
    with pytest.raises(ArgumentError, match=re.escape(message)):
        claim(tmp_path)
    assert names(tmp_path) == [name]
    reopen(tmp_path).close()
    assert (tmp_path / name).read_text() == "old"


def test_overwriting_removes_what_a_run_writes_and_nothing_else(tmp_path: Path) -> None:
    mine = ["demos.hdf5", "notes.txt", "policy.pt2"]
    for name in (*OWN_NAMES, "events.out.tfevents.1.x", *mine):
        (tmp_path / name).write_text("old")
    (tmp_path / "summary.json").unlink()
    (tmp_path / "summary.json").mkdir()  # no file of ours
    with claim(tmp_path, overwrite=True):
        assert names(tmp_path) == sorted([*mine, LOCK_NAME, "summary.json"])


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "kept").write_text("kept")
    (run / "checkpoint.pt").symlink_to(tmp_path / "kept")
    (run / LOCK_NAME).symlink_to(tmp_path / "kept")
    with pytest.raises(FileError, match=f"run_dir {run}: "):
        claim(run, overwrite=True)
    (run / LOCK_NAME).unlink()
    claim(run, overwrite=True).close()
    assert names(run) == [] and (tmp_path / "kept").read_text() == "kept"


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    folder = claim(tmp_path / "new" / "run")
    (folder.path / "config.json").write_text("{}")
    folder.remove_unused()
    assert names(tmp_path) == []

    # not what was there before, or what else came
    (tmp_path / "run").mkdir()
    folder = claim(tmp_path / "run")
    folder.remove_unused()
    assert names(tmp_path) == ["run"]
    folder = claim(tmp_path / "other")
    (folder.path / "config.json").write_text("{}")
    (folder.path / "demos.hdf5").write_text("dear")
    folder.remove_unused()
    assert names(tmp_path / "other") == ["demos.hdf5"]


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=f"run_dir {tmp_path}/file: "):
        claim(tmp_path / "file")
    for name, kind in (("file", "a regular file"), ("none", "nothing")):
        with pytest.raises(
            ArgumentError, match=rf"expected a run's folder, got {tmp_path}/{name} \({kind}\)"
        ):
            reopen(tmp_path / name)
    with pytest.raises(FileError, match="run_dir /proc/new: "):
        claim("/proc/new")
