"""One live view of several runs: a bar for each on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.markup import escape
from rich.progress import TaskID

from ibrl_fast.training.records.progress import Bars

# seconds between two looks at a bar
_PAUSE = 0.2

Send = Callable[[dict[str, Any]], None]


class RemoteDisplay:
    """The display of a run in another process; a `Display` that sends what is to be shown.

    Args:
        send: takes {"say": line} and {"bar": description, "done", "total"}.
    """

    def __init__(self, send: Send) -> None:
        self._send = send

    def __enter__(self) -> RemoteDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is kept open."""

    def say(self, line: str) -> None:
        """Show a line that stays."""
        self._send({"say": line})

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar; call the yielded function with the number completed."""
        shown = float("-inf")

        def show(done: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= _PAUSE or done >= total:
                shown = now
                self._send({"bar": description, "done": done, "total": total})

        yield show


class GroupDisplay(Bars):
    """The view of all runs; a context manager.

    Args:
        names: of the runs, in their order.
        quiet: show nothing.
    """

    def __init__(self, names: Sequence[str], *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._width = max(map(len, names))
        self._tasks: dict[str, TaskID] = {}
        self._doing: dict[str, str] = {}
        for name in names:
            self._tasks[name] = self._progress.add_task("", total=None)
            self.show(name, "waiting")

    def say(self, name: str, line: str) -> None:
        """Show a line of a run, or of all (an empty name), that stays."""
        begin = f"{name:<{self._width}}  " if name else ""
        self._progress.console.print(begin + line, markup=False, soft_wrap=True)

    def show(self, name: str, doing: str, done: int = 0, total: int | None = None) -> None:
        """Show what a run is doing, and how much of it is done."""
        task = self._tasks[name]
        if self._doing.get(name) != doing:
            self._doing[name] = doing
            description = escape(f"{name:<{self._width}}  {doing}")
            self._progress.reset(task, start=total is not None, description=description)
        self._progress.update(task, completed=done, total=total)
