"""The `train` records of a run: what happened since the last one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ibrl_fast.training.collector import EpisodeRecord


class IntervalLog:
    """Writes `episode` records as they come, and `train` records over the interval since the last one.

    Args:
        log: writes a record: kind, environment steps, metrics.
        critic_updates: G, critic updates of a round.
    """

    def __init__(self, log: Callable[[str, int, dict[str, Any]], None], critic_updates: int) -> None:
        self._log = log
        self._critic_updates = critic_updates
        self._recent: deque[EpisodeRecord] = deque(maxlen=100)
        self.mark(0, 0)

    def mark(self, env_steps: int, rounds: int) -> None:
        """Rates of the next record count from here: environment steps and update rounds so far."""
        self._marked = (time.perf_counter(), env_steps, rounds)

    def episode(self, env_steps: int, record: EpisodeRecord) -> None:
        """Note a training episode that ended."""
        self._recent.append(record)
        self._log("episode", env_steps, vars(record))

    def train(
        self, env_steps: int, rounds: int, metrics: Mapping[str, Any], seconds: Mapping[str, float]
    ) -> None:
        """Write a `train` record.

        Args:
            env_steps: environment steps so far.
            rounds: update rounds so far.
            metrics: of the interval's updates, and what else belongs into the record.
            seconds: per phase so far.
        """
        then, steps_before, rounds_before = self._marked
        self.mark(env_steps, rounds)
        taken = self._marked[0] - then
        record: dict[str, Any] = dict(metrics)
        record["env_steps_per_second"] = (env_steps - steps_before) / taken
        record["updates_per_second"] = (rounds - rounds_before) * self._critic_updates / taken
        if self._recent:
            lengths = sum(episode.length for episode in self._recent)
            il_steps = sum(episode.il_share * episode.length for episode in self._recent)
            record["train_success_rate"] = sum(e.success for e in self._recent) / len(self._recent)
            record["il_share_act"] = il_steps / lengths
            self._recent.clear()
        record.update({f"seconds/{phase}": value for phase, value in seconds.items()})
        self._log("train", env_steps, record)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the interval's episodes so far, as plain values."""
        return [vars(record) for record in self._recent]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Restore from state_dict()."""
        self._recent.clear()
        self._recent.extend(EpisodeRecord(**record) for record in state)
