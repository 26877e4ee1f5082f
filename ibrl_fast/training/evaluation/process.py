"""A background process that evaluates policies, seen from the trainer: jobs in, episodes out."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ibrl_fast.errors import UserError
from ibrl_fast.training.worker_process import start_worker

WORKER_MODULE = "ibrl_fast.training.evaluation.worker"


class EvaluationError(UserError, ChildProcessError):
    """A background process could not evaluate a policy; the message holds its last words."""


class EvaluationProcess:
    """One background process: a JSON line and a policy's bytes to its stdin, one JSON line back per job.

    It ends when its stdin closes, which the system does for a trainer that is killed: no process and, as
    policies travel through the pipe, no file is left behind.

    A process that ends by itself (killed for memory, say) is started anew with the jobs that it still owes:
    results are a function of the job, so nothing but time is lost. A job that ends it twice has failed.

    Args:
        spec: the `EvaluationSpec` as plain values.
        index: its number, for messages.
    """

    def __init__(self, spec: Mapping[str, Any], index: int) -> None:
        self._spec = spec
        self._index = index
        self._sent = 0
        self._owed: dict[int, tuple[dict[str, Any], bytes]] = {}
        self._restarted: set[int] = set()
        self._answers: dict[int, dict[str, Any] | EvaluationError] = {}
        self._start()

    def send(self, policy: bytes, job: Mapping[str, Any]) -> int:
        """Queues a job for an exported policy, given as its file's bytes; returns its ticket."""
        self._sent += 1
        self._owed[self._sent] = {"ticket": self._sent, "policy_bytes": len(policy), **job}, policy
        self._write(*self._owed[self._sent])
        return self._sent

    def receive(self, ticket: int, *, wait: bool) -> dict[str, Any] | None:
        """Return what the process answered to a job, or None if it is not done and `wait` is False.

        Raises:
            EvaluationError: the process ended twice in this job.
        """
        while ticket not in self._answers:
            try:
                line = self._lines.get(block=wait)
            except queue.Empty:
                return None
            if line is None:
                self._restart()
                continue
            answer = json.loads(line)
            done = answer.pop("ticket")
            del self._owed[done]
            self._answers[done] = answer
        found = self._answers[ticket]
        if isinstance(found, EvaluationError):
            raise found
        return found

    def close(self) -> None:
        """End the process; one that ended by itself is no error here."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in close()
        # all that this process imports from but its working directory
        paths = filter(None, [os.environ.get("PYTHONPATH", ""), *sys.path])
        self._process = start_worker(WORKER_MODULE, paths, self._errors)
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=_read, args=(self._process, self._lines), daemon=True).start()
        self._write(self._spec)

    def _restart(self) -> None:
        """Start a new process for the jobs that the ended one owed, except one that has now ended two."""
        status = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().strip().splitlines()[-8:]
        self._errors.close()

        # jobs are done in order: the oldest was at work
        culprit = min(self._owed)
        if culprit in self._restarted:
            what = f"evaluation process {self._index}: expected a result, got its end (exit status {status})"
            self._answers[culprit] = EvaluationError("\n".join([what, *words]))
            del self._owed[culprit]
        self._restarted.add(culprit)
        self._start()
        for job, policy in self._owed.values():
            self._write(job, policy)

    def _write(self, message: Mapping[str, Any], content: bytes = b"") -> None:
        assert self._process.stdin is not None
        # the process reads at once, whatever it is doing; one that is gone is found by its end, in receive
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n" + content)
            self._process.stdin.flush()


def _read(process: subprocess.Popen[bytes], lines: queue.Queue[bytes | None]) -> None:
    """Hands over what a process answers, and None at its end."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)
