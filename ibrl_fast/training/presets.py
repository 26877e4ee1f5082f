"""Named configurations: plain values, from the paper's Table II where a docstring says so.

`quickstart` is small and for a laptop; the others hold the paper's numbers. `preset(name)` makes one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ibrl_fast.agents.config import BCConfig, IBRLConfig
from ibrl_fast.agents.gate import GateConfig
from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn.config import ActorConfig, BCNetworkConfig, CriticConfig, NetworkConfig
from ibrl_fast.training.config import EnvConfig, ReplayConfig, TrainConfig, TrainEvaluationConfig
from ibrl_fast.training.demo_config import DemoConfig


def quickstart() -> TrainConfig:
    """Meta-World assembly from state in minutes on two CPU cores: small networks, many small updates."""
    return TrainConfig(
        total_env_steps=40_000,
        batch_size=128,
        critic_updates=2,
        warmup_episodes=20,
        observation_scaling="demonstrations",
        stop_at_success_rate=0.98,
        env=EnvConfig(task="metaworld/assembly"),
        demos=DemoConfig(episodes=3),
        bc=BCConfig(updates=600, batch_size=128, learning_rate=1e-3),
        bc_network=BCNetworkConfig(actor=ActorConfig(hidden=(256, 256, 256), dropout=0.0)),
        network=NetworkConfig(
            actor=ActorConfig(hidden=(256, 256), dropout=0.5),
            critic=CriticConfig(num_critics=2, hidden=(256, 256)),
        ),
        agent=IBRLConfig(learning_rate=3e-4, polyak=0.98, gate=GateConfig()),
        replay=ReplayConfig(capacity=50_000, nstep=5, gamma=0.98),
        evaluation=TrainEvaluationConfig(every_env_steps=4_000, episodes=50, workers=2),
    )


def metaworld_state() -> TrainConfig:
    """Return the quickstart's networks with a budget for every one of the four tasks."""
    return replace(quickstart(), total_env_steps=100_000, stop_at_success_rate=0.94)


def metaworld_pixel() -> TrainConfig:
    """Table II, Meta-World: DrQ networks at 84 pixels, no proprioception, no actor dropout, 3 demos."""
    return TrainConfig(
        total_env_steps=100_000,
        warmup_episodes=47,
        env=EnvConfig(
            observation="pixels", cameras=("corner2",), image_size=84, action_repeat=2, max_episode_steps=100
        ),
        demos=DemoConfig(episodes=3),
        bc=BCConfig(updates=20_000),
        bc_network=BCNetworkConfig.pixel_resnet18(),
        network=NetworkConfig.pixel_drq(),
        replay=ReplayConfig(capacity=60_000),
        evaluation=TrainEvaluationConfig(every_env_steps=5_000),
        checkpoint_every_env_steps=50_000,
    )


def robomimic_state() -> TrainConfig:
    """Table II, Robomimic (state): E = G = 5, soft IBRL with beta = 10, state stack 3; Can with 10 demos."""
    return TrainConfig(
        total_env_steps=200_000,
        critic_updates=5,
        warmup_episodes=40,
        env=EnvConfig(task="robosuite/PickPlaceCan", action_repeat=1, max_episode_steps=200),
        demos=DemoConfig(episodes=10),
        bc=BCConfig(updates=100_000),
        bc_network=BCNetworkConfig(),
        network=NetworkConfig.state(),
        agent=IBRLConfig(beta=10.0),
        replay=ReplayConfig(capacity=200_000),
        state_stack=3,
        evaluation=TrainEvaluationConfig(every_env_steps=10_000),
    )


def robomimic_pixel() -> TrainConfig:
    """Table II, Robomimic (pixel): ViT at 96 pixels, proprioception stack 3; Can, wrist camera, 10 demos."""
    return TrainConfig(
        total_env_steps=200_000,
        warmup_episodes=40,
        env=EnvConfig(
            task="robosuite/PickPlaceCan",
            observation="proprio_pixels",
            cameras=("robot0_eye_in_hand",),
            image_size=96,
            action_repeat=1,
            max_episode_steps=200,
        ),
        demos=DemoConfig(episodes=10),
        bc=BCConfig(updates=100_000),
        bc_network=BCNetworkConfig.pixel_resnet18(),
        network=NetworkConfig.pixel_vit(),
        replay=ReplayConfig(capacity=200_000),
        state_stack=3,
        evaluation=TrainEvaluationConfig(every_env_steps=10_000),
        checkpoint_every_env_steps=50_000,
    )


def real_robot() -> TrainConfig:
    """Table II, real robot: as `robomimic_pixel`; Lift, 10 demos, 8k steps at 10 Hz, no warm-up."""
    return replace(
        robomimic_pixel(),
        total_env_steps=8_000,
        warmup_episodes=0,
        env=EnvConfig(
            task="robot/lift",
            observation="proprio_pixels",
            cameras=("wrist",),
            image_size=96,
            action_repeat=1,
            max_episode_steps=75,
        ),
    )


PRESETS: dict[str, Callable[[], TrainConfig]] = {
    "quickstart": quickstart,
    "metaworld_state": metaworld_state,
    "metaworld_pixel": metaworld_pixel,
    "robomimic_state": robomimic_state,
    "robomimic_pixel": robomimic_pixel,
    "real_robot": real_robot,
}


def preset(name: str) -> TrainConfig:
    """One of `PRESETS`.

    Raises:
        ValueError: an unknown name; lists the valid ones.
    """
    if name not in PRESETS:
        raise ArgumentError(f"preset: expected one of {', '.join(PRESETS)}, got {name}")
    return PRESETS[name]()
