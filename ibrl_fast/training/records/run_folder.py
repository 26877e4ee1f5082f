"""One run, one folder, one process: a folder is claimed before a run writes into it.

The claim is a lock of the kernel on a file in the folder. It ends with the process that holds it, however
that ends, and programs that this process starts do not hold it.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ibrl_fast.errors import ArgumentError, user_errors
from ibrl_fast.files import kind_of
from ibrl_fast.training.config_file import CONFIG_NAME
from ibrl_fast.training.records.checkpoint import CHECKPOINT_NAME
from ibrl_fast.training.records.metrics import METRICS_NAME
from ibrl_fast.training.records.profile import CHART_NAME, TABLE_NAME, TRACE_NAME
from ibrl_fast.training.records.result import SUMMARY_NAME

LOCK_NAME = ".lock"
POLICY_NAME = "policy.pt"
TEACHER_NAME = "teacher.pt"
VIDEO_NAME = "rollouts.mp4"
PICTURE_NAMES = ("learning_curve.png", "training_curves.png", "phases.png")

# Any of these means that a run lies there
RUN_NAMES = (CHECKPOINT_NAME, METRICS_NAME, CONFIG_NAME)
# What a run writes, but its copy of the demonstrations: the next run may be about to read them
OWN_NAMES = (
    *RUN_NAMES,
    SUMMARY_NAME,
    POLICY_NAME,
    TEACHER_NAME,
    VIDEO_NAME,
    *PICTURE_NAMES,
    TRACE_NAME,
    TABLE_NAME,
    CHART_NAME,
)
EVENTS_PATTERN = "events.out.tfevents.*"


def claim(run_dir: str | os.PathLike[str], *, overwrite: bool = False) -> RunFolder:
    """Make and locks the folder of a new run.

    Args:
        run_dir: the folder; those above it are made.
        overwrite: remove the files of a run that lies there (and nothing else).

    Raises:
        ArgumentError: a run lies there, or another process works there.
        FileError: it cannot be made or written to.
    """
    path = Path(run_dir)
    with user_errors(f"run_dir {path}"):
        made = _make_folders(path)
        folder = RunFolder(path, made)
        try:
            old = [file for file in _own_files(path) if file.name in RUN_NAMES]
            if old and not overwrite:
                raise ArgumentError(
                    f"run_dir: expected a folder without a run, got {path}; overwrite=True replaces it"
                )
            for file in _own_files(path) if old else ():
                file.unlink()
        except BaseException:
            folder.close()
            raise
    return folder


def reopen(run_dir: str | os.PathLike[str]) -> RunFolder:
    """Locks the folder of a run that goes on.

    Raises:
        ArgumentError: it is no folder, or another process works there.
        FileError: it cannot be written to.
    """
    path = Path(run_dir)
    if not path.is_dir():
        raise ArgumentError(f"run_dir: expected a run's folder, got {path} ({kind_of(path)})")
    with user_errors(f"run_dir {path}"):
        return RunFolder(path, [])


class RunFolder:
    """A locked folder, until `close`; made by `claim` and `reopen`.

    Args:
        path: the folder.
        made: folders that did not exist before, the outermost first.
    """

    def __init__(self, path: Path, made: list[Path]) -> None:
        self.path = path
        self._made = made
        self._before = {file.name for file in path.iterdir()}
        self._handle: int | None = _lock(path)
        _locked.add(self)

    def remove_unused(self) -> None:
        """Remove the configuration and the folders of a run that never began; closes.

        A folder in which anything else lies stays.
        """
        if CONFIG_NAME not in self._before:
            (self.path / CONFIG_NAME).unlink(missing_ok=True)
        self.close()
        for folder in reversed(self._made):
            with suppress(OSError):  # something lies in it
                folder.rmdir()

    def close(self) -> None:
        """Give the folder free; may be called twice."""
        handle, self._handle = self._handle, None
        if handle is not None:
            # while it is locked, so that nobody can have taken it since
            (self.path / LOCK_NAME).unlink(missing_ok=True)
            os.close(handle)

    def forget(self) -> None:
        """In a child process: closes the handle that came with it, so that the lock ends with the parent."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


# A child made by fork shares its parent's locks until it closes them; another program never has them
_locked: weakref.WeakSet[RunFolder] = weakref.WeakSet()


def _forget_all() -> None:
    for folder in list(_locked):
        folder.forget()


os.register_at_fork(after_in_child=_forget_all)


def _lock(path: Path) -> int:
    """Return the handle of the folder's lock file, locked, with this process's number in it."""
    place = path / LOCK_NAME
    while True:
        handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # who held it may have removed it meanwhile: then the lock is on a file that nobody else sees
            if _is_same(handle, place):
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
                return handle
        except BlockingIOError as error:
            holder = os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise ArgumentError(
                f"run_dir: expected a folder that no other run works in, got {path} (process {holder} does)"
            ) from error
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_same(handle: int, place: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        there = os.stat(place, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), there)


def _make_folders(path: Path) -> list[Path]:
    """Make a folder and those above it; returns the new ones, the outermost first."""
    missing = [path] if not path.exists() else []
    while missing and not missing[0].parent.exists():
        missing.insert(0, missing[0].parent)
    path.mkdir(parents=True, exist_ok=True)
    return missing


def _own_files(path: Path) -> Iterator[Path]:
    """Files of a run in its folder; links too, whatever they lead to."""
    for file in [*(path / name for name in OWN_NAMES), *sorted(path.glob(EVENTS_PATTERN))]:
        if file.is_symlink() or file.is_file():
            yield file
