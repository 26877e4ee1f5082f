"""A run under way: its folder, its records, its display, its clock, and the wish to stop it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ibrl_fast.errors import first_line
from ibrl_fast.training.config import ImitationConfig, threads_from_environment
from ibrl_fast.training.config_file import config_from_dict, config_to_dict, save_config
from ibrl_fast.training.host_memory import keep_freed_memory, memory_errors
from ibrl_fast.training.interruption import StopWish, stop_on_signals
from ibrl_fast.training.records.checkpoint import CHECKPOINT_NAME, fitting, load_run, save_checkpoint
from ibrl_fast.training.records.metrics import MetricsLogger, PhaseTimer
from ibrl_fast.training.records.progress import Display
from ibrl_fast.training.records.result import Counters
from ibrl_fast.training.records.run_folder import RunFolder, claim, reopen


class SavedRun:
    """What a run folder's checkpoint holds, read when it is made.

    Args:
        path: the checkpoint or its folder.

    Attributes:
        run_dir: the folder.
        content: the checkpoint's.

    Raises:
        CheckpointError: no readable checkpoint of a run there.
    """

    def __init__(self, path: Path) -> None:
        self.run_dir = path if path.is_dir() else path.parent
        self._version = self._file_version()
        self.content = load_run(path)

    def refresh(self) -> None:
        """Read again where another process has gone on with the run since."""
        if self._file_version() != self._version:
            self.content = load_run(self.run_dir)

    def config(self) -> ImitationConfig:
        """Return the configuration that it was saved with.

        Raises:
            CheckpointError: it holds none.
        """
        with fitting(self.run_dir):
            return config_from_dict(json.loads(self.content["config"]))

    def _file_version(self) -> tuple[int, ...]:
        """Return what changes whenever the checkpoint is written anew; empty where there is none."""
        try:
            status = (self.run_dir / CHECKPOINT_NAME).stat()
        except OSError:
            return ()
        return status.st_ino, status.st_mtime_ns, status.st_size


@dataclass
class Run:
    """What all parts of a run share; made by `open_run`.

    Attributes:
        config: what is run.
        run_dir: the run's folder, which no other process works in.
        content: the checkpoint that it goes on from; None for a new run.
        counters: where it stands.
        timer: wall seconds by phase.
        progress: what a person sees.
        stop: whether it should stop.
        closers: gets what must be closed when it ends, however it ends.
        profiled: a trace was asked for.
    """

    config: ImitationConfig
    run_dir: Path
    content: dict[str, Any] | None
    counters: Counters
    timer: PhaseTimer
    progress: Display
    stop: StopWish
    closers: ExitStack
    profiled: bool = False

    def __post_init__(self) -> None:
        self._started = time.perf_counter() - self.counters.wall_seconds
        self._logger: MetricsLogger | None = None

    @property
    def env_steps(self) -> int:
        """Environment steps taken."""
        return self.counters.agent_steps * self.config.env.action_repeat

    @property
    def wall_seconds(self) -> float:
        """Seconds since the run began, without those in which it was interrupted."""
        return time.perf_counter() - self._started

    @property
    def has_begun(self) -> bool:
        """Whether there is something to keep."""
        return self._logger is not None

    def begin(self) -> None:
        """Open the records; from here on the folder holds a run."""
        kept = None if self.content is None else self.content["records"]
        self._logger = MetricsLogger(self.run_dir, kept=kept, env_steps=self.env_steps, say=self.say)
        self.closers.callback(self._logger.close)

    def say(self, line: str) -> None:
        """Show a line that stays."""
        self.progress.say(line)

    def log(self, kind: str, env_steps: int, metrics: dict[str, Any]) -> None:
        """Write one record of docs/metrics.md."""
        assert self._logger is not None, "log: expected begin() before"
        self._logger.log(kind, env_steps, metrics)

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint: the state of the parts, and what the run itself must remember."""
        assert self._logger is not None, "save: expected begin() before"
        self.counters.wall_seconds = self.wall_seconds
        content = {
            "config": json.dumps(config_to_dict(self.config)),
            "counters": vars(self.counters),
            "seconds": dict(self.timer.seconds),
            "records": self._logger.count,
            "torch_rng": torch.get_rng_state(),
            **state,
        }
        save_checkpoint(self.run_dir / CHECKPOINT_NAME, content)

    @contextmanager
    def decorating(self, what: str) -> Iterator[None]:
        """Around what makes a run's records nicer: a failure is said, and no more."""
        try:
            yield
        except Exception as error:
            self.say(f"no {what}: {first_line(error)}")


@contextmanager
def open_run(
    config: ImitationConfig,
    run_dir: Path,
    saved: SavedRun | None,
    *,
    stop: StopWish,
    display: Display,
    profile: bool,
    overwrite: bool,
) -> Iterator[Run]:
    """Claim a run's folder and give everything back at the end.

    Args:
        config: what is run.
        run_dir: the folder.
        saved: what it goes on from; None begins anew.
        stop: set by Ctrl-C and SIGTERM inside the block.
        display: shows it.
        profile: a trace was asked for.
        overwrite: a new run replaces one that lies there.

    Raises:
        ArgumentError: another run lies in the folder, or another process works there.
    """
    keep_freed_memory()
    with memory_errors(), stop_on_signals(stop), display, ExitStack() as closers:
        # the learner's threads, for as long as the run lasts
        closers.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(config.cpu_threads())
        if not config.num_threads and threads_from_environment() is not None:
            display.say(f"{config.cpu_threads()} CPU threads, as OMP_NUM_THREADS asks")

        # the folder, and where the run stands
        folder = _open_folder(run_dir, saved, overwrite=overwrite)
        closers.callback(folder.close)
        counters, timer = Counters(), PhaseTimer(profiled=profile)
        if saved is not None:
            with fitting(run_dir):
                counters = Counters(**saved.content["counters"])
                timer.seconds.update(saved.content["seconds"])
        content = None if saved is None else saved.content
        run = Run(config, run_dir, content, counters, timer, display, stop, closers, profile)
        try:
            if saved is None:
                save_config(config, run_dir)
            yield run
        except BaseException:
            # nothing but the configuration: as if it had never been tried
            if saved is None and not run.has_begun:
                folder.remove_unused()
            raise


def _open_folder(run_dir: Path, saved: SavedRun | None, *, overwrite: bool) -> RunFolder:
    """Return the run's folder, locked; what is saved in it is what it holds now."""
    if saved is None:
        return claim(run_dir, overwrite=overwrite)
    folder = reopen(run_dir)
    try:
        saved.refresh()
    except BaseException:
        folder.close()
        raise
    return folder
