"""What bench_replay.py samples: observations of three tasks' sizes, and buffers of ours filled with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from baselines.replay_buffers import EPISODE, Space

from ibrl_fast.data import BufferPlan, ObsSpec, ReplayBuffer

BATCH, ACTION = 256, 7
Call = Callable[[], Any]


@dataclass(frozen=True)
class Size:
    """What a batch is made of."""

    space: Space
    stacks: dict[str, int]

    @property
    def frame_bytes(self) -> int:
        """Bytes of the frames that a batch reads."""
        return sum(
            2 * BATCH * self.stacks.get(key, 1) * math.prod(spec.shape)
            for key, spec in self.space.items()
            if spec.is_image
        )

    @property
    def batch_bytes(self) -> int:
        """Bytes of a batch."""
        numbers = sum(2 * self.stacks.get(key, 1) * math.prod(spec.shape) for key, spec in self.space.items())
        return BATCH * (4 * (numbers + 3 * ACTION + 2) + 8)

    @property
    def moved_bytes(self) -> int:
        """Least bytes read and written: frames as bytes, everything else as it leaves."""
        vectors = self.batch_bytes - 4 * self.frame_bytes
        return self.frame_bytes + vectors + self.batch_bytes


def spec(*shape: int, image: bool = False) -> ObsSpec:
    """Describe one entry of an observation."""
    return ObsSpec(shape, torch.uint8 if image else torch.float32)


SIZES = {
    "pixel 96, proprio stack 3": Size(
        {"camera": spec(3, 96, 96, image=True), "proprio": spec(9)}, {"proprio": 3}
    ),
    "pixel 84 stack 3": Size({"camera": spec(3, 84, 84, image=True)}, {"camera": 3}),
    "state 23 stack 3": Size({"state": spec(23)}, {"state": 3}),
}


class Feed(NamedTuple):
    """Random steps for some environments, the same ones again and again."""

    obs: dict[str, np.ndarray]
    il_action: np.ndarray
    reward: np.ndarray
    no: np.ndarray

    @classmethod
    def of(cls, space: Space, envs: int) -> Feed:
        """Draw a step of `envs` environments."""
        rng = np.random.default_rng(0)
        obs = {
            key: rng.integers(0, 256, (envs, *each.shape), dtype=np.uint8)
            if each.is_image
            else rng.random((envs, *each.shape), dtype=np.float32)
            for key, each in space.items()
        }
        il_action = rng.uniform(-1, 1, (envs, 1, ACTION)).astype(np.float32)
        return cls(obs, il_action, rng.random(envs, dtype=np.float32), np.zeros(envs, dtype=bool))


def appender(buffer: ReplayBuffer, feed: Feed) -> Call:
    """Return a call that appends a step of all environments; every hundredth ends the episodes."""
    count = 0

    def append() -> None:
        nonlocal count
        if count % EPISODE == 0:
            buffer.start_episode(None, feed.obs, feed.il_action)
        count += 1
        ended = ~feed.no if count % EPISODE == 0 else feed.no
        buffer.append(feed.il_action[:, 0], feed.reward, feed.no, ended, feed.obs, feed.il_action)

    return append


def make_buffer(size: Size, capacity: int, envs: int, storage: str, device: torch.device) -> ReplayBuffer:
    """Make an empty buffer."""
    return ReplayBuffer(
        BufferPlan(
            size.space,
            ACTION,
            capacity=capacity,
            max_episode_steps=EPISODE,
            num_envs=envs,
            storage=storage,
            device=device,
            stacks=size.stacks,
        )
    )


def filled_buffer(size: Size, capacity: int, storage: str, device: torch.device) -> ReplayBuffer:
    """Make a buffer full of random steps."""
    buffer = make_buffer(size, capacity, 10, storage, device)
    append = appender(buffer, Feed.of(size.space, 10))
    for _ in range(capacity // 10):
        append()
    return buffer
