"""Several runs side by side, each result equal to that of its run alone, bit for bit on the CPU."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ibrl_fast.envs.registry import is_known_everywhere, resolve_task
from ibrl_fast.errors import expect
from ibrl_fast.training.build import check_device
from ibrl_fast.training.config import TrainConfig
from ibrl_fast.training.group.display import GroupDisplay
from ibrl_fast.training.group.group_folder import holds, is_group, load_group, placed, save_group
from ibrl_fast.training.group.limits import side_by_side
from ibrl_fast.training.group.outcome import (
    GroupResult,
    RunOutcome,
    finished_result,
    write_outcome,
)
from ibrl_fast.training.group.process import Event, RunProcess
from ibrl_fast.training.interruption import StopWish, stop_on_signals
from ibrl_fast.training.records.checkpoint import CHECKPOINT_NAME
from ibrl_fast.training.records.run_folder import reopen


def train_seeds(
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    jobs: int | None = None,
    quiet: bool = False,
) -> GroupResult:
    """Train one configuration with several seeds, side by side on the cores that are there.

    Each run lies in a folder of its own (`seed0`, ...) inside one for all of them, and is what it would be
    alone, bit for bit on the CPU: it keeps the threads that it has alone. Ctrl-C (and SIGTERM) saves every
    run; calling this again, or `resume_group`, goes on with those that have not finished.

    Args:
        config: of every run but for its seed. {seed} in its `run_dir` stands for all seeds, joined by `_`. A
            teacher of one's own is its `il_policy`.
        seeds: all different.
        jobs: runs at once; by default as many as there are cores for their threads and memory for their
            replay buffers. The others wait.
        quiet: no progress display.

    Returns:
        What came of every run. One that fails does not stop the others.

    Raises:
        ArgumentError: no seed or one twice, other runs in the folder, or more jobs than memory allows.

    Example:
        group = train_seeds(presets.quickstart(), [0, 1, 2])
        print(group.success_rates)
    """
    folder, configs = seed_runs(config, seeds)
    return train_group(configs, folder, jobs=jobs, quiet=quiet)


def seed_runs(config: TrainConfig, seeds: Sequence[int]) -> tuple[Path, dict[str, TrainConfig]]:
    """Return the folder of several seeds of one configuration, and the runs by name."""
    expect(len(seeds) > 0, "seeds", "at least one", "none")
    expect(len(set(seeds)) == len(seeds), "seeds", "different ones", " ".join(map(str, seeds)))
    configs = {f"seed{seed}": replace(config, seed=seed) for seed in seeds}
    together = Path(str(config.run_dir).replace("{seed}", "_".join(map(str, seeds))))
    return replace(config, run_dir=together).resolved_run_dir(), configs


def resume_group(folder: Path | str, *, jobs: int | None = None, quiet: bool = False) -> GroupResult:
    """Go on with the runs of a folder that have not finished; those that failed are tried again.

    Args:
        folder: of several runs.
        jobs, quiet: as `train_seeds`.

    Raises:
        ArgumentError: it is not the folder of several runs, or another process works there.
    """
    return train_group(load_group(Path(folder)), Path(folder), jobs=jobs, quiet=quiet)


def train_group(
    configs: Mapping[str, TrainConfig], folder: Path, *, jobs: int | None = None, quiet: bool = False
) -> GroupResult:
    """Train a list of configurations, or go on with it where a folder holds the same list.

    Args:
        configs: by the name of the run, which is its folder's inside `folder`.
        folder: of all of them.
        jobs, quiet: as `train_seeds`.

    Raises:
        ArgumentError: an unknown task or device, a task that other processes do not know, other runs in the
            folder, more jobs than memory allows, or another process works there.
    """
    runs = placed(configs, folder)
    for config in runs.values():
        elsewhere = is_known_everywhere(resolve_task(config.env.task))
        expect(elsewhere, "env.task", "one that other processes know, too", config.env.task)
        check_device(config)
    expect(not is_group(folder) or holds(folder, runs), "runs", "a folder without others", folder)
    slots = side_by_side(runs.values(), jobs)
    if not is_group(folder):
        save_group(runs, folder)
    with reopen(folder):
        group = _Group(runs, folder, slots, quiet=quiet).run()
        write_outcome(group)
    return group


class _Group:
    """Runs under way: those that wait, those at work, and what came of the others."""

    def __init__(self, runs: Mapping[str, TrainConfig], folder: Path, slots: int, *, quiet: bool) -> None:
        self._runs = runs
        self._folder = folder
        self._slots = slots
        self._display = GroupDisplay(list(runs), quiet=quiet)
        self._stop = StopWish()
        self._events: queue.Queue[Event] = queue.Queue()
        self._working: dict[str, RunProcess] = {}
        self._outcomes: dict[str, RunOutcome] = {}
        self._last: dict[str, dict[str, Any]] = {}
        self._waiting: deque[str] = deque()
        for name, config in runs.items():
            result = finished_result(config.run_dir)
            if result is None:
                self._waiting.append(name)
            else:
                self._outcomes[name] = RunOutcome(name, "finished", result)

    def run(self) -> GroupResult:
        """Run all to their ends, or until Ctrl-C or SIGTERM; a second one ends them at once."""
        told = False
        with stop_on_signals(self._stop), self._display:
            for name in self._outcomes:
                self._display.show(name, "finished", 1, 1)
            try:
                while self._working or (self._waiting and not self._stop.is_set()):
                    while self._waiting and len(self._working) < self._slots and not self._stop.is_set():
                        self._start(self._waiting.popleft())
                    if self._stop.is_set() and not told:
                        told = True
                        for process in self._working.values():
                            process.stop(self._stop.number)
                    self._take_event()
            finally:
                for process in self._working.values():
                    process.kill()
        for name in self._waiting:
            self._outcomes[name] = RunOutcome(name, "interrupted")
        outcomes = tuple(self._outcomes[name] for name in self._runs)
        return GroupResult(self._folder, outcomes, self._stop.number if self._stop.is_set() else None)

    def _start(self, name: str) -> None:
        config = self._runs[name]
        resume = (config.run_dir / CHECKPOINT_NAME).is_file()
        self._display.show(name, "starting")
        self._working[name] = RunProcess(
            name, config, resume=resume, log=self._folder / f"{name}.log", events=self._events
        )

    def _take_event(self) -> None:
        """Show what a run says, or note its end."""
        try:
            name, event = self._events.get(timeout=0.1)
        except queue.Empty:
            return
        if event is None:
            self._end(name)
        elif "say" in event:
            self._display.say(name, event["say"])
        elif "bar" in event:
            self._display.show(name, event["bar"], event["done"], event["total"])
        else:
            self._last[name] = event

    def _end(self, name: str) -> None:
        words = self._working.pop(name).end()
        last = self._last.get(name, {"ended": "failed"})
        outcome = RunOutcome(name, last["ended"])
        if outcome.status == "finished":
            outcome = replace(outcome, result=finished_result(self._runs[name].run_dir))
        elif outcome.status == "failed":
            outcome = replace(outcome, message=last.get("message") or words or "its process was ended")
            self._display.say(name, f"failed: {outcome.message}")
        self._outcomes[name] = outcome
        done = 1 if outcome.status == "finished" else 0
        self._display.show(name, outcome.status, done, 1)
