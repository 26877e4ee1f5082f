"""A recorded episode through a policy again: what would it have answered, bit for bit?"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from ibrl_fast.data.demonstrations import read_demonstrations
from ibrl_fast.robot.fit import RunsOnRobot
from ibrl_fast.robot.recording import read_log
from ibrl_fast.robot.robot import Array


@dataclass(frozen=True, eq=False)
class Replay:
    """The answers of then and now, at the M steps at which the policy was asked."""

    steps: Array
    """`[M]`, the numbers of the steps."""
    recorded: Array
    """`[M, action_dim]` float32, then."""
    answered: Array
    """`[M, action_dim]` float32, now."""
    sources: Array
    """`[M, 2]`, whose proposal it was then and now."""

    @property
    def differing(self) -> Array:
        """`[M]` bool, where the answers differ in any bit."""
        return (self.recorded.view(np.uint32) != self.answered.view(np.uint32)).any(1)

    @property
    def is_equal(self) -> bool:
        """Whether every answer is the same to the last bit."""
        return not self.differing.any()

    def report(self) -> str:
        """Return the differences, one line for each of the first, and their sizes."""
        if self.is_equal:
            return f"{len(self.steps)} answers, equal bit for bit"
        sizes = np.abs(self.answered - self.recorded).max(1)
        rows = np.flatnonzero(self.differing)
        lines = [
            f"  step {self.steps[row]}: recorded {np.array2string(self.recorded[row], precision=4)}, "
            f"now {np.array2string(self.answered[row], precision=4)}, off by {sizes[row]:.3g}"
            + ("" if self.sources[row, 0] == self.sources[row, 1] else ", another proposal")
            for row in rows[:10]
        ]
        head = f"{len(rows)} of {len(self.steps)} answers differ, by {sizes.max():.3g} at most"
        rest = [f"  and {len(rows) - 10} more"] if len(rows) > 10 else []
        return "\n".join([head, *lines, *rest])


def replay_episode(path: str | os.PathLike[str], policy: RunsOnRobot) -> Replay:
    """Ask a policy again what it was asked in a recorded episode.

    Args:
        path: a recorded file.
        policy: the one that ran, or another with the same observations and actions.

    Raises:
        UserError: the file, or observations that the policy does not take.
    """
    log = read_log(path)
    names = list(policy.contract.observations)
    demo = read_demonstrations(path, keys=names)[0]
    policy.reset()
    steps = np.flatnonzero(log.asked)
    answers, sources = [], []
    for step in steps:
        answers.append(policy.step({name: demo.observations[name][step] for name in names}))
        sources.append((int(log.source[step]), -1 if policy.source is None else policy.source))
    recorded = log.proposed[steps]
    return Replay(
        steps,
        recorded,
        np.array(answers, np.float32).reshape(recorded.shape),
        np.array(sources, np.int64).reshape(-1, 2),
    )
