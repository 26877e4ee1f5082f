"""Real commands in processes of their own, for tests that end them in every way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import ibrl_fast

ROOT = Path(ibrl_fast.__file__).parents[1]
STARTED: list[subprocess.Popen[str]] = []
"""What a test must not leave running, also when it fails; see conftest.py."""
MAIN = "from ibrl_fast.cli import main; main()"
CODE = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {MAIN}"
"""The command as from a terminal: these tests may run where Ctrl-C is ignored, as in a shell's background."""


def start(
    *arguments: object, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.Popen[str]:
    """`ibrl-fast ARGUMENTS` under way, in a session of its own; killed at the test's end."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        start_new_session=True,
    )
    STARTED.append(process)
    return process


def run(*arguments: object, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `ibrl-fast ARGUMENTS`."""
    process = start(*arguments, env=env, cwd=cwd)
    out, errors = process.communicate(timeout=600)
    return process.returncode, out, errors


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 600) -> None:
    """Returns once `ready()`; fails if the process ends or the time passes before."""
    limit = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "it took too long"
        time.sleep(0.02)


def workers_of(pid: int) -> list[int]:
    """The evaluation processes that a process started."""
    return children_of(pid, "ibrl_fast.training.evaluation.worker")


def children_of(pid: int, word: str) -> list[int]:
    """The processes that a process started with this word in their command."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            if parent == pid and word.encode() in words:
                found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs (one that ended and was not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
