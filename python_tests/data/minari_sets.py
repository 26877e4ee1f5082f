"""Minari data sets for tests, made by Minari itself from episodes that these functions step or draw."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

minari = pytest.importorskip("minari", reason="the package minari is not installed")

from minari.data_collector import EpisodeBuffer  # noqa: E402

ARM_OBSERVATIONS = spaces.Dict(
    {
        "robot": spaces.Box(-np.inf, np.inf, (3,), np.float64),
        "goal": spaces.Dict({"object": spaces.Box(-np.inf, np.inf, (2,), np.float32)}),
        "front": spaces.Box(0, 255, (40, 48, 3), np.uint8),
        "wrist_image": spaces.Box(0, 255, (3, 8, 9), np.uint8),
        "depth": spaces.Box(0.0, 1.0, (40, 48), np.float32),
        "phase": spaces.Discrete(4),
    }
)
ARM_ACTIONS = spaces.Box(np.float32([-2.0, 0.0]), np.float32([2.0, 5.0]))


def create(dataset_id: str, episodes: list[dict[str, Any]], **options: Any) -> None:
    """Writes a data set into MINARI_DATASETS_PATH."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about author and licence
        minari.create_dataset_from_buffers(
            dataset_id, buffer=[EpisodeBuffer(**episode) for episode in episodes], **options
        )


def pendulum_episodes(count: int = 3, steps: int = 6) -> list[dict[str, Any]]:
    """Episodes of Pendulum-v1 as its steps gave them."""
    env = gymnasium.make("Pendulum-v1", max_episode_steps=steps)
    env.action_space.seed(0)
    episodes = []
    for seed in range(7, 7 + count):
        observations = [env.reset(seed=seed)[0]]
        actions, rewards, terminations, truncations = [], [], [], []
        while not (truncations and truncations[-1]):
            actions.append(env.action_space.sample())
            observation, reward, terminated, truncated, _ = env.step(actions[-1])
            observations.append(observation)
            rewards.append(float(reward))
            terminations.append(terminated)
            truncations.append(truncated)
        values = {"observations": np.stack(observations), "actions": np.stack(actions), "rewards": rewards}
        episodes.append({**values, "terminations": terminations, "truncations": truncations, "seed": seed})
    env.close()
    return episodes


def create_pendulum(dataset_id: str = "pendulum/random-v0", **options: Any) -> list[dict[str, Any]]:
    """A data set of Pendulum-v1; returns its episodes."""
    episodes = pendulum_episodes()
    create(dataset_id, episodes, env=gymnasium.make("Pendulum-v1"), **options)
    return episodes


def arm_episode(seed: int, steps: int, success_at: int | None, **changes: Any) -> dict[str, Any]:
    """An episode of random numbers that succeeds in a step, or never."""
    rng = np.random.default_rng(seed)

    def pixels(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, (steps + 1, *shape), dtype=np.uint8)

    observations = {
        "robot": rng.normal(size=(steps + 1, 3)),
        "goal": {"object": rng.normal(size=(steps + 1, 2)).astype(np.float32)},
        "front": pixels(40, 48, 3),
        "wrist_image": pixels(3, 8, 9),
        "depth": rng.random((steps + 1, 40, 48), dtype=np.float32),
        "phase": rng.integers(0, 4, steps + 1),
    }
    reached = [success_at is not None and step >= success_at for step in range(-1, steps)]
    episode = {
        "seed": 100 + seed,
        "observations": observations,
        "actions": rng.uniform(ARM_ACTIONS.low, ARM_ACTIONS.high, (steps, 2)).astype(np.float32),
        "rewards": rng.normal(size=steps).tolist(),
        "terminations": [False] * steps,
        "truncations": [False] * (steps - 1) + [True],
        "infos": {"is_success": reached},
    }
    return episode | changes


def create_arm(dataset_id: str, episodes: list[dict[str, Any]], **options: Any) -> None:
    """A data set of such episodes, without an environment."""
    create(
        dataset_id,
        episodes,
        observation_space=ARM_OBSERVATIONS,
        action_space=ARM_ACTIONS,
        **options,
    )


def data_folder(root: Path, dataset_id: str) -> Path:
    """Where a data set's files lie."""
    return root / dataset_id / "data"
