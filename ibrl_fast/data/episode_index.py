"""Where episodes lie in the buffer's rows: placement, eviction, and the table of rows to sample from.

Host bookkeeping only: integers and numpy, no tensors. The rows are one demonstration region, then one ring
segment per environment:

    | demonstrations: demo_capacity + num_demos rows | env 0: segment_rows | env 1: segment_rows | ...

An episode of T steps takes T + 1 consecutive rows: row r holds step t's observation, action and reward, row r
+ 1 its successor; the last row, the tail, holds only the newest observation. An episode never wraps: one that
might not fit before the segment's end starts at the segment's beginning.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RowLayout:
    """How many rows each region has.

    Attributes:
        capacity: most online steps held, over all environments together.
        num_envs: environments, each with its own ring segment.
        max_episode_steps: longest online episode, in steps.
        demo_capacity: demonstration steps that fit, never evicted.
        num_demos: demonstrations that fit (each needs one tail row).
    """

    capacity: int
    num_envs: int
    max_episode_steps: int
    demo_capacity: int
    num_demos: int

    @property
    def steps_per_env(self) -> int:
        """Online steps kept for each environment."""
        return self.capacity // self.num_envs

    @property
    def demo_rows(self) -> int:
        """Rows of the demonstration region."""
        return self.demo_capacity + self.num_demos

    @property
    def segment_rows(self) -> int:
        """Rows of one environment's ring.

        Its steps, tails for episodes that average a quarter of the longest, and one episode's room, which is
        lost where the ring wraps.
        """
        tails = -(-4 * self.steps_per_env // self.max_episode_steps)
        return self.steps_per_env + tails + self.max_episode_steps + 2

    @property
    def rows(self) -> int:
        """All rows."""
        return self.demo_rows + self.num_envs * self.segment_rows

    @property
    def table_size(self) -> int:
        """Most transitions that can be sampled at one time."""
        return self.demo_capacity + self.num_envs * self.steps_per_env


class EpisodeIndex:
    """Episodes of every environment, and the table of their transition rows.

    Attributes:
        table: `[table_size]` int64; `table[:num_demo_steps]` are demonstrations, `table[num_demo_steps:size]`
            online.
        size: transitions that can be sampled.
        num_demo_steps: how many of them are demonstrations.
        touched: table positions written since a caller last cleared this list.
        evicted: rows (first, stop) of episodes dropped since a caller last cleared this list.
    """

    def __init__(self, layout: RowLayout) -> None:
        envs = layout.num_envs
        self.layout = layout
        self.table: IntArray = np.zeros(layout.table_size, dtype=np.int64)
        self.size = 0
        self.num_demo_steps = 0
        self.touched: list[int] = []
        self.evicted: list[tuple[int, int]] = []

        # Table position of each row, -1 where the row is no transition.
        self._slot: IntArray = np.full(layout.rows, -1, dtype=np.int64)

        # Demonstrations as (start, steps), in order.
        self.demos: list[tuple[int, int]] = []

        # Per environment: finished episodes (start, steps) oldest first, and the one being written.
        self.finished: list[deque[tuple[int, int]]] = [deque() for _ in range(envs)]
        self.start = [self.segment_start(env) for env in range(envs)]
        self.steps = [0] * envs
        self.running = [False] * envs
        self.held = [0] * envs

        # Rows of each region that were ever written, demonstrations first: what a checkpoint must keep.
        self.used = [0] * (envs + 1)

    @staticmethod
    def required_bytes(layout: RowLayout) -> int:
        """Count the bytes of this bookkeeping's arrays."""
        return 8 * (layout.rows + layout.table_size)

    def segment_start(self, env: int) -> int:
        """Return the first row of an environment's ring."""
        return self.layout.demo_rows + env * self.layout.segment_rows

    def add_demo(self, steps: int) -> int:
        """Reserve the rows of a demonstration and list its transitions; return its first row."""
        first = self.used[0]
        rows = np.arange(first, first + steps)
        # Online rows that stand where the table's demonstration part grows move to the table's end.
        begin, end = self.num_demo_steps, self.num_demo_steps + steps
        moved = self.table[begin : min(end, self.size)].copy()
        self._place(moved, np.arange(self.size + steps - moved.size, self.size + steps))
        self._place(rows, np.arange(begin, end))
        self.num_demo_steps = end
        self.size += steps
        self.demos.append((first, steps))
        self.used[0] = first + steps + 1
        return first

    def start_episode(self, env: int) -> int:
        """Open an episode and return its first row; one still running is closed where it stands."""
        if self.running[env]:
            self.end_episode(env)
        begin = self.segment_start(env)
        row = self._next_start(env)
        if row + self.layout.max_episode_steps + 1 > begin + self.layout.segment_rows:
            row = begin
        self._claim(env, row)
        self.start[env], self.steps[env], self.running[env] = row, 0, True
        return row

    def append(self, env: int) -> int:
        """Turn the running episode's tail into a transition and return its row."""
        row = self.start[env] + self.steps[env]
        while self.held[env] >= self.layout.steps_per_env:
            self._evict_oldest(env)
        self._claim(env, row + 1)
        self.table[self.size] = row
        self._slot[row] = self.size
        self.touched.append(self.size)
        self.size += 1
        self.held[env] += 1
        self.steps[env] += 1
        return row

    def end_episode(self, env: int) -> None:
        """Close the running episode; one without a step leaves no trace."""
        if self.steps[env]:
            self.finished[env].append((self.start[env], self.steps[env]))
        self.running[env] = False

    def _next_start(self, env: int) -> int:
        """Return the row after the newest episode, or the place of one that never got a step."""
        return self.start[env] + self.steps[env] + 1 if self.steps[env] else self.start[env]

    def _claim(self, env: int, row: int) -> None:
        """Evict what occupies a row about to be written: round a ring, the oldest episode is met first."""
        finished = self.finished[env]
        while finished and finished[0][0] <= row <= finished[0][0] + finished[0][1]:
            self._evict_oldest(env)
        self.used[env + 1] = max(self.used[env + 1], row + 1 - self.segment_start(env))

    def _evict_oldest(self, env: int) -> None:
        """Drop an environment's oldest finished episode; the table's end fills the holes."""
        start, steps = self.finished[env].popleft()
        self.evicted.append((start, start + steps + 1))
        rows = slice(start, start + steps)
        kept = self.size - steps

        # Rows at the table's end that stay move to the freed positions before it.
        slots = self._slot[rows].copy()
        self._slot[rows] = -1
        tail = self.table[kept : self.size]
        movers = tail[self._slot[tail] >= 0]
        self._place(movers, slots[slots < kept])
        self.size = kept
        self.held[env] -= steps

    def _place(self, rows: IntArray, positions: IntArray) -> None:
        """Write rows at table positions."""
        self.table[positions] = rows
        self._slot[rows] = positions
        self.touched += positions.tolist()

    def state(self) -> dict[str, IntArray]:
        """Return everything as integer arrays."""
        episodes = [(0, start, steps) for start, steps in self.demos]
        for env, finished in enumerate(self.finished):
            episodes += [(env + 1, start, steps) for start, steps in finished]
        current = np.stack([self.start, self.steps, self.running], axis=1)
        return {
            "table": self.table[: self.size].copy(),
            "counts": np.asarray([self.num_demo_steps, *self.used], dtype=np.int64),
            "episodes": np.asarray(episodes, dtype=np.int64).reshape(-1, 3),
            "current": current.astype(np.int64),
        }

    def load(self, state: dict[str, IntArray]) -> None:
        """Restore from `state`, on an index with the same layout."""
        table = state["table"]
        self.size = table.size
        self.table[: self.size] = table
        self.touched, self.evicted = list(range(self.size)), []
        self._slot.fill(-1)
        self._slot[table] = np.arange(self.size)
        self.num_demo_steps, *self.used = (int(count) for count in state["counts"])
        self.demos = [(int(s), int(n)) for region, s, n in state["episodes"] if region == 0]
        for env in range(self.layout.num_envs):
            mine = state["episodes"][state["episodes"][:, 0] == env + 1]
            self.finished[env] = deque((int(s), int(n)) for _, s, n in mine)
            self.start[env], self.steps[env] = int(state["current"][env, 0]), int(state["current"][env, 1])
            self.running[env] = bool(state["current"][env, 2])
            open_steps = self.steps[env] if self.running[env] else 0
            self.held[env] = sum(steps for _, steps in self.finished[env]) + open_steps
