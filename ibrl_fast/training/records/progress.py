"""What a person sees while a run goes on: a bar with rate and time left, or plain lines off a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class RateColumn(ProgressColumn):
    """Completed steps per second."""

    def render(self, task: Task) -> Text:
        """Show a task's speed; nothing before it has one."""
        return Text("" if task.speed is None else f"{task.speed:.0f}/s")


class Display(Protocol):
    """What shows a run while it lasts."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, line: str) -> None:
        """Show a line that stays."""

    def bar(self, description: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Show a bar; call the yielded function with the number completed."""


def make_progress(*, quiet: bool) -> Progress:
    """Return bars with rate and time left, which show nothing off a terminal; lines are always printed.

    Args:
        quiet: show and print nothing.
    """
    console = Console(quiet=quiet, highlight=False)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    )


class Bars:
    """Bars that are there inside a `with` block.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._progress = make_progress(quiet=quiet)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class RunProgress(Bars):
    """The display of one run in this process."""

    def say(self, line: str) -> None:
        """Show a line that stays."""
        self._progress.console.print(line, markup=False)

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar; call the yielded function with the number completed."""
        task = self._progress.add_task(description, total=total)
        try:
            yield lambda completed: self._progress.update(task, completed=completed)
        finally:
            self._progress.remove_task(task)
