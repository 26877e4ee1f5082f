"""What every kind of run has in common: how it is made, resumed, run and stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from ibrl_fast.envs import register_env, resolve_task
from ibrl_fast.errors import ArgumentError, naming
from ibrl_fast.training.build import check_device
from ibrl_fast.training.config import ImitationConfig
from ibrl_fast.training.interruption import StopWish
from ibrl_fast.training.records.progress import Display, RunProgress
from ibrl_fast.training.records.result import TrainResult
from ibrl_fast.training.run import Run, SavedRun, open_run


class BaseTrainer(ABC):
    """One run.

    Args:
        config: the run, of the very type that this trainer is for.
        quiet: no progress display (records and files are written all the same).
        profile: adds a trace of some steps and where their time went (`StepProfiler`).
        overwrite: replace a run that lies in the run's folder, which is an error otherwise.
        make_env: makes one Gymnasium environment, which becomes the task of the configuration's name as by
            `register_env`; needed again to resume the run (`from_checkpoint(..., make_env=...)`).

    Attributes:
        display: makes what shows the run; on the console unless it is replaced.

    Raises:
        ValueError: another kind of run, an unknown task, or a device that this machine lacks.
    """

    config_type: ClassVar[type[ImitationConfig]]

    def __init__(
        self,
        config: Any,
        *,
        quiet: bool = False,
        profile: bool = False,
        overwrite: bool = False,
        make_env: Callable[[], Any] | None = None,
    ) -> None:
        if type(config) is not self.config_type:
            raise ArgumentError(
                f"config: expected {self.config_type.__name__} for {type(self).__name__}, "
                f"got {type(config).__name__}"
            )
        if make_env is not None:
            with naming("make_env as env.task"):
                register_env(config.env.task, make_env)
        resolve_task(config.env.task)
        check_device(config)
        self.config = config
        self.run_dir: Path = config.resolved_run_dir()
        self.display: Callable[[], Display] = partial(RunProgress, quiet=quiet)
        self._profile = profile
        self._overwrite = overwrite
        self._saved: SavedRun | None = None
        self._stop = StopWish()

    @classmethod
    def from_checkpoint(cls, path: Path | str, *, quiet: bool = False, **given: Any) -> Self:
        """Return a trainer that goes on where a run folder's checkpoint stands, bit for bit on the CPU.

        Args:
            path: the checkpoint or its folder.
            quiet: no progress display.
            given: what the run began with beside its configuration (`il_policy`, `make_env`).

        Raises:
            CheckpointError: no readable checkpoint there.
            ValueError: one of another kind of run.
        """
        return cls.from_saved(SavedRun(Path(path)), quiet=quiet, **given)

    @classmethod
    def from_saved(cls, saved: SavedRun, *, quiet: bool = False, **given: Any) -> Self:
        """Return a trainer that goes on from a checkpoint that was read already."""
        trainer = cls(saved.config(), quiet=quiet, **given)
        trainer.run_dir = saved.run_dir
        trainer._saved = saved
        return trainer

    @property
    def stop(self) -> StopWish:
        """The wish to stop the run at its next step, which Ctrl-C and SIGTERM set and others may."""
        return self._stop

    @property
    def stopped_by(self) -> int | None:
        """The signal (SIGINT, SIGTERM) that stopped the run; None where none did."""
        return self._stop.number if self._stop.is_set() else None

    def run(self) -> TrainResult:
        """Run to the end, or until Ctrl-C or SIGTERM, which save a checkpoint first.

        Raises:
            ArgumentError: another run lies in the folder, or another process works there.
        """
        with open_run(
            self.config,
            self.run_dir,
            self._saved,
            stop=self._stop,
            display=self.display(),
            profile=self._profile,
            overwrite=self._overwrite,
        ) as run:
            return self._work(run)

    @abstractmethod
    def _work(self, run: Run) -> TrainResult:
        """Do the run itself."""
