"""Small agents, batches and recorded random numbers for the tests of the agents."""

from __future__ import annotations

import pkgutil
from typing import Any

import torch
from torch import Tensor, nn

from ibrl_fast.agents import TD3Config
from ibrl_fast.agents.random_source import RandomSource
from ibrl_fast.data import Batch
from ibrl_fast.nn import (
    ActorConfig,
    BCNetworkConfig,
    CriticConfig,
    NetworkConfig,
    ViTConfig,
    build_bc_policy,
    build_networks,
)

STATE_SHAPES: dict[str, tuple[int, ...]] = {"state": (6,)}
PIXEL_SHAPES: dict[str, tuple[int, ...]] = {"camera": (3, 32, 32), "proprio": (4,)}
ACTION_DIM = 3


def state_networks(num_critics: int = 5, dropout: float = 0.5) -> NetworkConfig:
    """MLPs of two layers."""
    return NetworkConfig(
        actor=ActorConfig(hidden=(24, 24), dropout=dropout),
        critic=CriticConfig(num_critics=num_critics, hidden=(24, 24)),
    )


def pixel_networks(num_critics: int = 2, dropout: float = 0.5) -> NetworkConfig:
    """A ViT of 9 tokens with 16 features."""
    return NetworkConfig(
        actor=ActorConfig(hidden=(20, 20), layer_norm=True, compress_dim=12, dropout=dropout),
        critic=CriticConfig(num_critics=num_critics, hidden=(20, 20), embed_dim=24),
        encoder=ViTConfig(token_dim=16, mlp_dim=32),
    )


def make_agent(
    config: TD3Config,
    network: NetworkConfig,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    output_std: float = 0.5,
    samples: int = 1,
) -> Any:
    """The agent of a configuration, with weights from a seed.

    `output_std`: of the actor's last layer, which starts small or at zero and would matter little.
    `samples`: of the imitation policy.
    """
    torch.manual_seed(seed + 100)
    shapes = STATE_SHAPES if network.encoder is None else PIXEL_SHAPES
    networks = build_networks(network, shapes, ACTION_DIM, residual_scale=config.residual_scale)
    with torch.no_grad():
        output_layer(networks.actor).weight.normal_(std=output_std)
    agent = pkgutil.resolve_name(config.learner)
    if not config.needs_teacher:
        return agent(networks, config, seed=seed, dtype=dtype)
    bc = build_bc_policy(BCNetworkConfig(actor=network.actor, encoder=network.encoder), shapes, ACTION_DIM)
    if config.residual:
        # far enough from zero that corrections are clipped
        with torch.no_grad():
            output_layer(bc.actor).weight.normal_(std=0.5)
    teacher = bc if samples == 1 else Samples(bc, samples)
    return agent(networks, config, teacher, seed=seed, dtype=dtype)


class Samples(nn.Module):
    """Samples `[N, num_samples, action_dim]` around a policy's action, always the same."""

    def __init__(self, policy: nn.Module, num_samples: int) -> None:
        super().__init__()
        self.policy = policy
        self.num_samples = num_samples
        self.register_buffer("offset", torch.linspace(-0.3, 0.3, num_samples).view(1, -1, 1))

    def forward(self, obs: dict[str, Tensor]) -> Tensor:
        action: Tensor = self.policy(obs).unsqueeze(1) + self.offset
        return action.clamp(-1.0, 1.0)


def output_layer(actor: Any) -> nn.Linear:
    """The last layer of an actor, or of its residual."""
    layer: nn.Linear = getattr(actor, "residual", actor).mlp.output
    return layer


def random_obs(agent: Any, size: int, seed: int) -> dict[str, Tensor]:
    """Observations in [-0.5, 0.5]."""
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.rand((size, *shape), generator=generator, dtype=agent.dtype) - 0.5
        for key, shape in agent.shapes.items()
    }


def random_batch(agent: Any, size: int = 32, seed: int = 0, samples: int = 1) -> Batch:
    """A batch with random contents, some of it terminal."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=agent.dtype) * 2 - 1

    return Batch(
        obs=random_obs(agent, size, seed + 1),
        action=uniform(size, ACTION_DIM),
        reward=(uniform(size) > 0.5).to(agent.dtype),
        discount=torch.where(uniform(size) > 0.8, 0.0, 0.97).to(agent.dtype),
        next_obs=random_obs(agent, size, seed + 2),
        il_action=uniform(size, samples, ACTION_DIM),
        il_action_next=uniform(size, samples, ACTION_DIM),
        rows=torch.zeros(size, dtype=torch.int64),
    )


class RecordingRandom(RandomSource):
    """Keeps what it draws, by kind; stands in for an agent's own source."""

    def __init__(self, seed: int, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(seed, torch.device("cpu"), dtype)
        self.draws: dict[str, list[Tensor]] = {"normal": [], "mask": [], "subset": [], "uniform": []}
        self.counters: list[int] = []

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        value = super().normal(shape)
        self.draws["normal"].append(value.clone())
        return value

    def dropout_mask(self, batch: int, width: int, dropout: float) -> Tensor:
        value = super().dropout_mask(batch, width, dropout)
        self.draws["mask"].append(value.clone())
        return value

    def subset(self, num_critics: int, size: int) -> Tensor:
        value = super().subset(num_critics, size)
        self.draws["subset"].append(value.clone())
        return value

    def advance(self) -> None:
        self.counters.append(int(self.counter))
        super().advance()
