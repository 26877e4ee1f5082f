"""What a run leaves behind while it runs: metrics.jsonl (plain, append-only) and TensorBoard events.

Every line of metrics.jsonl is one JSON object with a checksum of itself and the lines before it. Every metric
that may be logged is defined in docs/metrics.md; a test holds the two together.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from ibrl_fast.agents.ranges import nvtx_range
from ibrl_fast.errors import ArgumentError, FileError, first_line, user_errors
from ibrl_fast.files import SEAL, SealError, kind_of, parse_object, seal, unseal, write_bytes

METRICS_NAME = "metrics.jsonl"

# What may follow where JSON that was cut off stops making sense: a comma, the first letters of a value
_PART_OF_A_VALUE = re.compile(r"[,\s]*[\\\w.+-]*")

# The phases that `PhaseTimer` may be asked for; each is an NVTX range and a `seconds/<phase>` metric
PHASES = ("collect", "sample", "critic", "actor", "update", "evaluate", "checkpoint", "bc")


class MetricsLogger:
    """Appends one JSON object per call to metrics.jsonl and mirrors the numbers to TensorBoard.

    Args:
        run_dir: the run's folder.
        kept: on resuming, how many records stay: those that were there when the run was saved, so that all
            reads as one run. None begins anew.
        env_steps: where the run stands.
        tensorboard: write TensorBoard events as well; where that fails, the run goes on without them.
        say: is told why there are no TensorBoard events.

    Attributes:
        count: records in the file.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        kept: int | None = None,
        env_steps: int = 0,
        tensorboard: bool = True,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._path = Path(run_dir) / METRICS_NAME
        self._checksum = ""
        self.count = 0
        with user_errors(str(self._path)):
            if kept is None:
                self._path.unlink(missing_ok=True)
            else:
                self._checksum, self.count = _keep(self._path, kept)
            self._file = self._path.open("ab", buffering=0)
        self._say = say
        self._writer: SummaryWriter | None = None
        if tensorboard:
            with self._decorating():
                self._writer = SummaryWriter(str(run_dir), purge_step=None if kept is None else env_steps)

    def log(self, kind: str, env_steps: int, metrics: dict[str, Any]) -> None:
        """Write one record.

        Args:
            kind: `train`, `episode`, `eval`, `bc`, `resume` or `summary`.
            env_steps: environment steps (control steps, action repeat counted) so far.
            metrics: numbers (or lists of numbers, which go to the JSON file alone).

        Raises:
            FileError: there is no room; what was written before is as it was.
        """
        record = {
            "kind": kind,
            "env_steps": env_steps,
            **{key: _plain(value) for key, value in metrics.items()},
        }
        sealed = seal(record, self._checksum)
        self._append(_line(sealed))
        self._checksum = sealed[SEAL]
        self.count += 1
        if self._writer is not None:
            with self._decorating():
                for key, value in record.items():
                    if isinstance(value, int | float) and not isinstance(value, bool) and key != "env_steps":
                        self._writer.add_scalar(f"{kind}/{key}", value, env_steps)

    def _append(self, line: bytes) -> None:
        """Write a whole line or nothing."""
        with user_errors(str(self._path)):
            before = os.fstat(self._file.fileno()).st_size
            try:
                while line:
                    line = line[self._file.write(line) :]
            except OSError:
                os.ftruncate(self._file.fileno(), before)
                raise

    def close(self) -> None:
        """Flushes and closes both; may be called twice."""
        self._file.close()
        writer, self._writer = self._writer, None
        if writer is not None:
            with self._decorating():
                writer.close()

    @contextmanager
    def _decorating(self) -> Iterator[None]:
        """Around what TensorBoard does: its first failure is said, and is its end."""
        try:
            yield
        except Exception as error:
            self._writer = None
            self._say(f"no TensorBoard events from here on: {first_line(error)}")


def _line(record: dict[str, Any]) -> bytes:
    """Return a record as a line of the file."""
    return (json.dumps(record) + "\n").encode()


def _keep(path: Path, number: int) -> tuple[str, int]:
    """Take away all but the first records of a file, and what a crash cut off.

    Returns:
        The last checksum, and how many records there are: fewer than `number` where some were lost.
    """
    kept, checksum = [], ""
    for record in read_metrics(path)[:number]:
        kept.append(seal(record, checksum))
        checksum = kept[-1][SEAL]
    content = b"".join(map(_line, kept))
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)
    return checksum, len(kept)


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.item() if value.numel() == 1 else value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read a metrics.jsonl (or the one in a run folder); a last line cut off by a crash is left out.

    Raises:
        FileError: naming the line that is no record, or does not fit its checksum.
    """
    path = Path(path)
    if path.is_dir():
        path = path / METRICS_NAME
    kind = kind_of(path)
    if kind == "nothing":
        return []
    if kind != "a regular file":
        raise FileError(f"{path}: expected a regular file, got {kind}")
    with user_errors(str(path)):
        *lines, last = path.read_bytes().split(b"\n")

    # A line without its end was cut off, unless all but its end is there or more than a record
    if last and not _is_cut_off(last):
        lines.append(last)
    records: list[dict[str, Any]] = []
    checksum = ""
    sealed = any(f'"{SEAL}"'.encode() in line for line in lines)
    for number, line in enumerate(lines, start=1):
        try:
            record, checksum = _record(line, checksum, sealed=sealed)
        except (ValueError, RecursionError) as error:
            advice = f"the {number - 1} lines before it can be kept: head -n {number - 1}"
            raise FileError(f"{path}: line {number}: {error} ({advice})") from error
        records.append(record)
    return records


def _is_cut_off(line: bytes) -> bool:
    """Whether a line is the beginning of a record."""
    text = line.decode(errors="replace")
    try:
        json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        # what is wrong is that it ends, not something in it
        rest = _PART_OF_A_VALUE.fullmatch(text, error.pos)
        return text.startswith("{") and ("Unterminated" in error.msg or rest is not None)
    except RecursionError:
        return False
    return False


def _record(line: bytes, before: str, *, sealed: bool) -> tuple[dict[str, Any], str]:
    """One record of a line and its checksum; `sealed`: it must have one, as others of the file."""
    try:
        content = parse_object(line)
    except ValueError as error:
        raise ValueError(f"expected a JSON object, got {error}") from error
    record = unseal(content, before)
    if sealed and len(record) == len(content):
        raise SealError(f"expected the entry {SEAL} as in other lines, got none")
    kind, env_steps = record.get("kind"), record.get("env_steps")
    if not isinstance(kind, str) or type(env_steps) is not int or not 0 <= env_steps < 2**63:
        raise ArgumentError(f"expected a kind and env_steps, got {str(kind)[:20]!r} and {_short(env_steps)}")
    for key, value in record.items():
        for number in value if isinstance(value, list) else [value]:
            if key != "kind" and not _is_metric(number):
                raise ArgumentError(f"{key[:40]}: expected a number or null, got {_short(number)}")
    return record, content.get(SEAL, "")


def _is_metric(value: Any) -> bool:
    """Return a number that a float holds, or none."""
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


def _short(value: Any) -> str:
    """Return a value in few letters; text and collections by their type, since they may be long."""
    if isinstance(value, int):
        return str(value) if abs(value) < 2**63 else "an integer of more than 64 bits"
    return str(value) if isinstance(value, float) or value is None else type(value).__name__


class MetricsAccumulator:
    """Means of device tensors over a logging interval, read from the device once, not at every update.

    The sums stay where they are from their first use on, so that a CUDA graph can add to them.
    """

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, metrics: dict[str, torch.Tensor]) -> None:
        """Add scalars (device tensors, [] each); nothing is read back."""
        for key, value in metrics.items():
            total = self._sums.get(key)
            if total is None:
                total = self._sums[key] = torch.zeros((), dtype=torch.float64, device=value.device)
            elif total.device != value.device:
                # loaded from a file
                total = self._sums[key] = total.to(value.device)
            total.add_(value.detach())
        self.count(dict.fromkeys(metrics, 1))

    def count(self, times: Mapping[str, int]) -> None:
        """Note that so many values were added to each sum, where that happened without `add`."""
        for key, number in times.items():
            self._counts[key] += number

    @property
    def counts(self) -> dict[str, int]:
        """Values added to each sum since the last `pop`."""
        return {key: number for key, number in self._counts.items() if number}

    def pop(self) -> dict[str, float]:
        """Return the means since the last call, read in one transfer, and empty the accumulator."""
        counts = self.counts
        totals = torch.stack([self._sums[key] for key in counts]).tolist() if counts else []
        for total in self._sums.values():
            total.zero_()
        self._counts.clear()
        return {key: total / number for (key, number), total in zip(counts.items(), totals, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Return what was added since the last `pop`."""
        counts = self.counts
        return {"sums": {key: self._sums[key].clone() for key in counts}, "counts": counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` stood."""
        for total in self._sums.values():
            total.zero_()
        for key, total in state["sums"].items():
            if key in self._sums:
                self._sums[key].copy_(total)
            else:
                self._sums[key] = total.clone()
        self._counts = defaultdict(int, state["counts"])


class PhaseTimer:
    """Wall seconds per phase of the loop, with an NVTX range of the same name around each.

    Beside `PHASES` it takes the names that a method gives to parts of its rounds.

    Args:
        profiled: also a range of torch.profiler.
    """

    def __init__(self, *, profiled: bool = False) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        self._range = torch.profiler.record_function if profiled else nullcontext

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Add the time of the block to a phase."""
        started = time.perf_counter()
        with nvtx_range(phase), self._range(phase):
            try:
                yield
            finally:
                spent = time.perf_counter() - started
                self.seconds[phase] = self.seconds.get(phase, 0.0) + spent
