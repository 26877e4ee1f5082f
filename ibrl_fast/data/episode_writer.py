"""From checked steps to rows: where the index places them, what is data and what is published."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ibrl_fast.data.buffer_plan import BufferPlan
from ibrl_fast.data.episode_index import EpisodeIndex
from ibrl_fast.data.transition_checks import Values
from ibrl_fast.data.write_queue import Group, Rows, WriteQueue
from ibrl_fast.errors import ArgumentError

_COUNTS = np.arange(4)


class EpisodeWriter:
    """Put steps, whose values are checked, into the rows that the index gives out."""

    def __init__(self, plan: BufferPlan, index: EpisodeIndex, writes: WriteQueue) -> None:
        """Write through `writes`."""
        self._plan, self._index, self._writes = plan, index, writes

    def add_demonstrations(self, checked: Sequence[tuple[int, Values, Values]]) -> None:
        """Store what `TransitionChecks.demonstrations` returned, if all of it fits."""
        # All or nothing.
        free_steps = self._plan.demo_capacity - self._index.num_demo_steps
        free_demos = self._plan.num_demos - len(self._index.demos)
        new_steps = sum(steps for steps, _, _ in checked)
        if new_steps > free_steps or len(checked) > free_demos:
            raise ArgumentError(
                f"demos: expected at most {free_demos} more with {free_steps} steps in all, "
                f"got {len(checked)} with {new_steps} steps"
            )

        # Each in rows of its own, its last observation in the tail.
        for steps, values, observed in checked:
            rows = self._index.add_demo(steps) + np.arange(steps + 1)
            observed["episode_step"] = np.arange(steps + 1, dtype=np.int32)
            self._write([(rows[:-1], values), (rows, observed)])
            self.publish(rows[:-1], rows[-1:])

    def start_episode(self, envs: Sequence[int], observed: Values) -> None:
        """Open an episode in each environment with its first observation."""
        rows = [self._index.start_episode(env) for env in envs]
        observed["episode_step"] = np.zeros(len(envs), dtype=np.int32)
        self._write([(rows, observed)])
        self.publish([], rows)

    def append(self, envs: Sequence[int], values: Values, observed: Values) -> None:
        """Store a step of each environment: its tail becomes a transition, the next row the new tail."""
        # Every environment has an episode with room for a step.
        index = self._index
        for env in envs:
            if not index.running[env]:
                raise ArgumentError(
                    f"append: expected start_episode first, got no episode in environment {env}"
                )
            if index.steps[env] == self._plan.max_episode_steps:
                raise ArgumentError(
                    f"append: expected an end after max_episode_steps = {index.steps[env]} steps, "
                    f"got one more in environment {env}"
                )

        # The step goes into the tail's row, what came of it into the row behind.
        observed["episode_step"] = np.asarray([index.steps[env] + 1 for env in envs], dtype=np.int32)
        rows = [index.append(env) for env in envs]
        tails = [row + 1 for row in rows]
        self._write([(rows, values), (tails, observed)])

        # Episodes that are over, and what reads may see from now on.
        for env, ended in zip(envs, (values["terminated"] | values["truncated"]).tolist()):
            if ended:
                index.end_episode(env)
        self.publish(rows, tails)

    def _write(self, groups: Sequence[Group]) -> None:
        """Write data into rows that the index has just given out."""
        for first, stop in self._index.evicted:
            self._writes.retire(first, stop)
        self._index.evicted.clear()
        self._writes.write(groups)

    def publish(self, rows: Rows = (), tails: Rows = ()) -> None:
        """Show the next read what the index now holds; `rows` became transitions, `tails` hold no step."""
        index, writes = self._index, self._writes
        if len(rows):
            writes.publish("is_tail", rows, 0)
        if len(tails):
            writes.publish("is_tail", tails, 1)
        if index.touched:
            writes.publish("table", index.touched, index.table[index.touched])
            index.touched.clear()
        # All transitions, demonstrations, and where in the table the rest of a mixed batch is drawn from:
        # online steps, or demonstrations while there are none.
        online = index.size - index.num_demo_steps
        rest = (index.num_demo_steps, online) if online else (0, index.num_demo_steps)
        writes.publish("counts", _COUNTS, [index.size, index.num_demo_steps, *rest])
