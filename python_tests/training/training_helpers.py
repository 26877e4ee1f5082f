"""Tiny runs for the tests of training: seconds each, with every part of a real one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ibrl_fast.agents import BCConfig, IBRLConfig
from ibrl_fast.nn import (
    ActorConfig,
    BCNetworkConfig,
    CriticConfig,
    DrQConfig,
    NetworkConfig,
    ResNet18Config,
)
from ibrl_fast.training.config import (
    DemoConfig,
    EnvConfig,
    ReplayConfig,
    TrainConfig,
    TrainEvaluationConfig,
)
from ibrl_fast.training.records.checkpoint import load_checkpoint
from ibrl_fast.training.records.metrics import read_metrics
from ibrl_fast.training.records.result import TrainResult
from ibrl_fast.training.trainer import Trainer

# What depends on the clock and so differs between two equal runs
WALL_CLOCK = ("wall_seconds", "cpu_seconds", "env_steps_per_second", "updates_per_second")


def tiny_config(run_dir: Path, demos: Path | None, **changes: Any) -> TrainConfig:
    """60 agent steps of IBRL on assembly from state, with networks of 16 units."""
    config = TrainConfig(
        run_dir=run_dir,
        total_env_steps=120,
        batch_size=8,
        warmup_episodes=1,
        observation_scaling="demonstrations",
        log_every_updates=7,
        checkpoint_every_env_steps=50,
        env=EnvConfig(task="metaworld/assembly", max_episode_steps=13),
        demos=DemoConfig(path=demos, episodes=2),
        bc=BCConfig(updates=10, batch_size=8, learning_rate=1e-3),
        bc_network=BCNetworkConfig(actor=ActorConfig(hidden=(16,), dropout=0.1)),
        network=NetworkConfig(
            actor=ActorConfig(hidden=(16, 16), dropout=0.5),
            critic=CriticConfig(num_critics=3, hidden=(16, 16)),
        ),
        agent=IBRLConfig(learning_rate=1e-3, beta=1.0),
        replay=ReplayConfig(capacity=200),
        state_stack=2,
        evaluation=TrainEvaluationConfig(every_env_steps=60, episodes=2, workers=0, video_episodes=0),
    )
    return replace(config, **changes)


def tiny_pixel_config(run_dir: Path, demos: Path, **changes: Any) -> TrainConfig:
    """The same from images: 84 pixels, DrQ encoder, a narrow ResNet as imitation policy."""
    config = tiny_config(run_dir, demos, observation_scaling="none")
    config = replace(
        config,
        total_env_steps=40,
        checkpoint_every_env_steps=1000,
        log_every_updates=3,
        env=replace(config.env, observation="pixels", max_episode_steps=12),
        demos=DemoConfig(path=demos, episodes=1),
        warmup_episodes=0,
        bc=replace(config.bc, updates=2),
        bc_network=BCNetworkConfig(
            actor=ActorConfig(hidden=(8,), dropout=0.0, compress_dim=None), encoder=ResNet18Config(8)
        ),
        network=NetworkConfig(
            actor=ActorConfig(hidden=(8,), dropout=0.0, compress_dim=8),
            critic=CriticConfig(num_critics=2, hidden=(8,), head="trunk", embed_dim=8),
            encoder=DrQConfig(channels=4),
        ),
        replay=ReplayConfig(capacity=300),
        state_stack=1,
        image_stack=2,
        evaluation=replace(config.evaluation, every_env_steps=1000, episodes=1),
    )
    return replace(config, **changes)


def run_interrupted(config: TrainConfig, agent_steps: int) -> TrainResult:
    """Runs as if Ctrl-C had come while the given agent step was under way."""
    trainer = Trainer(config, quiet=True)
    step = trainer._step
    taken = 0

    def counted() -> None:
        nonlocal taken
        step()
        taken += 1
        if taken == agent_steps:
            trainer._stop.set()

    trainer._step = counted  # type: ignore[method-assign]
    return trainer.run()


def reproducible_records(run_dir: Path) -> list[dict[str, Any]]:
    """A run's metrics without what the clock decides."""
    return [
        {key: value for key, value in record.items() if key not in WALL_CLOCK and "seconds/" not in key}
        for record in read_metrics(run_dir)
    ]


def reproducible_content(run_dir: Path) -> dict[str, Any]:
    """A run's checkpoint without what the clock and the folder's name decide."""
    content = load_checkpoint(run_dir)
    content["config"] = {**json.loads(content["config"]), "run_dir": None}
    content["counters"] = {**content["counters"], "wall_seconds": None}
    del content["seconds"]
    return content


def differences(first: Any, second: Any, path: str = "") -> list[str]:
    """Where two nested values are not equal to the bit; empty when they are."""
    if type(first) is not type(second):
        return [f"{path}: {type(first).__name__} and {type(second).__name__}"]
    if isinstance(first, dict):
        keys = [f"{path}: keys {set(first) ^ set(second)}"] if set(first) != set(second) else []
        return keys + [
            line
            for key in first
            if key in second
            for line in differences(first[key], second[key], f"{path}/{key}")
        ]
    if isinstance(first, list):
        if len(first) != len(second):
            return [f"{path}: lengths {len(first)} and {len(second)}"]
        pairs = enumerate(zip(first, second, strict=True))
        return [line for index, (a, b) in pairs for line in differences(a, b, f"{path}[{index}]")]
    if isinstance(first, torch.Tensor):
        return (
            [] if first.dtype == second.dtype and _same_bits(first, second) else [f"{path}: tensors differ"]
        )
    return (
        [] if first == second or (first != first and second != second) else [f"{path}: {first} and {second}"]
    )


def _same_bits(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.shape == second.shape and first.numpy().tobytes() == second.numpy().tobytes()
