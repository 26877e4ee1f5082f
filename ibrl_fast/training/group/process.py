"""The process of one run, seen from the one that started it: events out, a wish to stop in."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from ibrl_fast.agents import METHODS
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.config_file import config_to_dict
from ibrl_fast.training.worker_process import start_worker

WORKER_MODULE = "ibrl_fast.training.group.worker"

Event = tuple[str, dict[str, Any] | None]


class RunProcess:
    """One run under way in a process of its own.

    It ends by itself, saved, when this process is gone. Its threads and environment are those of a run alone.

    Args:
        name: of the run.
        config: of the run.
        resume: whether it goes on from its checkpoint.
        log: gets what it and its libraries print; removed at the end if that is nothing.
        events: gets what it says, under its name, and None at its end.
    """

    def __init__(
        self, name: str, config: TrainConfig, *, resume: bool, log: Path, events: queue.Queue[Event]
    ) -> None:
        self._log = log
        # all that this process can import (a user's own method)
        paths = [path or os.getcwd() for path in sys.path]
        with log.open("wb") as errors:
            self._process = start_worker(WORKER_MODULE, paths, errors)
        threading.Thread(target=_read, args=(name, self._process, events), daemon=True).start()
        self._write({"config": config_to_dict(config), "resume": resume, "methods": dict(METHODS)})

    def stop(self, number: int) -> None:
        """Ask it to save and end, as a signal would."""
        self._write({"stop": int(number)})

    def end(self) -> str:
        """Wait for its end; return its last words, empty where it had none."""
        assert self._process.stdin is not None
        self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        words = self._log.read_text(errors="replace").strip()
        if not words:
            self._log.unlink()
        return words.splitlines()[-1] if words else ""

    def kill(self) -> None:
        """End it at once; its folder holds its last checkpoint."""
        self._process.kill()
        self.end()

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        # one that is gone is found by its end
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()


def _read(name: str, process: subprocess.Popen[bytes], events: queue.Queue[Event]) -> None:
    """Hand over what a process says, and None at its end."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            events.put((name, json.loads(line)))
    events.put((name, None))
