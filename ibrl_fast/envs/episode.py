"""One environment of the reference backend: its suite's environment at the agent's rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.envs.options import PoolOptions
from ibrl_fast.envs.suite import EnvState


@dataclass(frozen=True)
class StepResult:
    """What one agent step gave."""

    reward: float
    terminated: bool
    truncated: bool
    success: bool
    diverged: bool
    elapsed_steps: int
    """Agent steps of the episode so far."""
    episode_return: float
    """Sum of its rewards so far."""


class Episode:
    """The running episode of one environment: action repeat, time limit, reward and return.

    Args:
        env: a `SuiteEnv`; its control steps are repeated, and stop early when the episode ends.
        options: of the pool.
    """

    def __init__(self, env: Any, options: PoolOptions) -> None:
        self.env = env
        self.elapsed_steps = 0
        self.episode_return = 0.0
        self._options = options

    @property
    def vectors(self) -> Mapping[str, npt.NDArray[Any]]:
        """The current observation's vectors by name, float [dim]."""
        vectors: Mapping[str, npt.NDArray[Any]] = self.env.vectors
        return vectors

    def reset(self, seed: int | None) -> None:
        """Start an episode; without a seed the environment's own stream goes on."""
        self.env.reset(seed)
        self.elapsed_steps = 0
        self.episode_return = 0.0

    def step(self, action: npt.NDArray[np.float32]) -> StepResult:
        """Take one agent step with `action`, float32 [action_dim] in [-1, 1]."""
        options = self._options
        dense_reward, success, diverged, ended, timed_out = 0.0, False, False, False, False
        for _ in range(options.action_repeat):
            outcome = self.env.step(action)
            diverged = outcome.diverged
            if diverged:
                break
            dense_reward += outcome.reward
            success = success or outcome.success
            ended, timed_out = outcome.terminated, outcome.truncated
            if ended or timed_out or (success and options.terminate_on_success):
                break

        self.elapsed_steps += 1
        total = float(success) if options.reward == "sparse" else dense_reward
        self.episode_return += total
        terminated = (ended or (success and options.terminate_on_success)) and not diverged
        out_of_time = timed_out or self.elapsed_steps >= options.max_episode_steps
        truncated = not terminated and (out_of_time or diverged)
        return StepResult(
            total, terminated, truncated, success, diverged, self.elapsed_steps, self.episode_return
        )

    def get_state(self) -> EnvState:
        """Return named arrays that hold everything that decides the future."""
        return {
            **self.env.get_state(),
            "elapsed_steps": np.array(self.elapsed_steps, dtype=np.int64),
            "episode_return": np.array(self.episode_return, dtype=np.float64),
        }

    def set_state(self, state: EnvState) -> None:
        """Restore what `get_state` returned."""
        own = ("elapsed_steps", "episode_return")
        self.env.set_state({key: value for key, value in state.items() if key not in own})
        self.elapsed_steps = int(state["elapsed_steps"])
        self.episode_return = float(state["episode_return"])
