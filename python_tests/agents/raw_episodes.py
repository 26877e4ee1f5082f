"""Short raw episodes, and the same in a replay buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from agent_helpers import ACTION_DIM
from torch import Tensor

from ibrl_fast.data import BufferPlan, Demonstration, ObsSpec, ReplayBuffer

# exact in float32 up to its third power, as the buffer computes in float32
GAMMA = 63 / 64


def make_episodes(shapes: dict[str, tuple[int, ...]], seed: int) -> list[Demonstration]:
    """Short episodes: some terminate with reward, some are truncated."""
    rng = np.random.default_rng(seed)
    episodes = []
    for number, steps in enumerate((5, 1, 7, 2, 9, 4)):
        observations = {
            key: rng.integers(0, 256, (steps + 1, *shape)).astype(np.uint8)
            if len(shape) == 3
            else rng.normal(size=(steps + 1, *shape)).astype(np.float32)
            for key, shape in shapes.items()
        }
        ends = np.arange(steps) == steps - 1
        terminated = ends & (number % 2 == 0)
        episodes.append(
            Demonstration(
                observations=observations,
                actions=rng.uniform(-1, 1, (steps, ACTION_DIM)).astype(np.float32),
                # quarters are exact
                rewards=rng.integers(-2, 5, steps).astype(np.float32) / 4,
                terminated=terminated,
                truncated=ends & ~terminated,
            )
        )
    return episodes


class Steps:
    """Raw episodes, demonstrations and online ones, and the same in a replay buffer."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], nstep: int) -> None:
        self.shapes = shapes
        demos, online = make_episodes(shapes, seed=1), make_episodes(shapes, seed=2)
        self.buffer = ReplayBuffer(
            BufferPlan(
                {
                    key: ObsSpec(shape, torch.uint8 if len(shape) == 3 else torch.float32)
                    for key, shape in shapes.items()
                },
                ACTION_DIM,
                capacity=50,
                max_episode_steps=10,
                demo_capacity=sum(len(demo) for demo in demos),
                num_demos=len(demos),
                num_il_samples=0,
                nstep=nstep,
                gamma=GAMMA,
                random_shift_pad=0,
                seed=3,
            )
        )
        self.buffer.add_demonstrations(demos)
        # demonstrations lie before all online steps
        self.demo_rows = sum(len(demo) + 1 for demo in demos)
        for episode in online:
            self._append(episode)
        # a step by the numbers that it observed
        self._where = {
            self._key({key: value[t] for key, value in episode.observations.items()}): (episode, t, is_demo)
            for episodes, is_demo in ((demos, True), (online, False))
            for episode in episodes
            for t in range(len(episode))
        }

    def _append(self, episode: Demonstration) -> None:
        def observed(t: int) -> dict[str, np.ndarray]:
            return {key: value[t : t + 1] for key, value in episode.observations.items()}

        self.buffer.start_episode(None, observed(0))
        for t in range(len(episode)):
            step = slice(t, t + 1)
            ends = episode.terminated[step], episode.truncated[step]
            self.buffer.append(episode.actions[step], episode.rewards[step], *ends, observed(t + 1))

    def _key(self, obs: dict[str, Any]) -> bytes:
        vector = next(key for key, shape in self.shapes.items() if len(shape) == 1)
        return np.asarray(obs[vector], np.float32).tobytes()

    def find(self, obs: dict[str, Tensor], i: int) -> tuple[Demonstration, int, bool]:
        """The episode of row i of a batch, its step there, and whether it is a demonstration."""
        return self._where[self._key({key: value[i] for key, value in obs.items()})]
