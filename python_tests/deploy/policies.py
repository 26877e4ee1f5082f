"""Small agents with weights from a seed, their contracts and random observations, for the export's tests."""

from __future__ import annotations

import pkgutil
from dataclasses import replace

import torch
from torch import Tensor

from ibrl_fast.agents import TD3Agent, TD3Config
from ibrl_fast.deploy import ObservationContract, ObservationField
from ibrl_fast.nn import (
    ActorConfig,
    BCNetworkConfig,
    BCPolicy,
    CriticConfig,
    NetworkConfig,
    ObservationScaler,
    ResNet18Config,
    ViTConfig,
    build_bc_policy,
    build_networks,
)

ACTION_DIM = 3
METADATA = {"task": "metaworld/assembly", "method": "ibrl"}


def state_contract(stack: int = 3) -> ObservationContract:
    """A state of 5 features."""
    fields = {"state": ObservationField((5,), stack=stack)}
    return ObservationContract(fields, ACTION_DIM, control_period=0.0125, action_repeat=2, metadata=METADATA)


def pixel_contract(stack: int = 3) -> ObservationContract:
    """A camera of 36 x 36 pixels and 4 stacked proprioception features."""
    fields = {
        "wrist": ObservationField((3, 36, 36), "uint8", low=0.0, high=255.0),
        "proprio": ObservationField((4,), stack=stack),
    }
    return ObservationContract(fields, ACTION_DIM)


def _networks(contract: ObservationContract, num_critics: int) -> tuple[NetworkConfig, BCNetworkConfig]:
    """Small MLPs, behind a ViT and a ResNet-18 where there are images."""
    if "wrist" not in contract.observations:
        actor = ActorConfig(hidden=(16, 16))
        return NetworkConfig(actor, CriticConfig(num_critics, (16, 16))), BCNetworkConfig(actor)
    actor = ActorConfig(hidden=(16, 16), layer_norm=True, compress_dim=8)
    return (
        NetworkConfig(actor, CriticConfig(num_critics, (16, 16), embed_dim=24), ViTConfig(16, mlp_dim=32)),
        BCNetworkConfig(replace(actor, compress_dim=None), ResNet18Config(base_channels=4)),
    )


def randomise(module: torch.nn.Module, generator: torch.Generator) -> None:
    """Biases, norms and small last layers away from their initial values, so that each of them matters."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def make_bc_policy(contract: ObservationContract, seed: int = 0) -> BCPolicy:
    """An imitation policy."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    shapes = {key: spec.stacked_shape for key, spec in contract.observations.items()}
    policy = build_bc_policy(_networks(contract, 1)[1], shapes, ACTION_DIM, scalers=_scalers(contract))
    randomise(policy, generator)
    return policy


def make_agent(
    contract: ObservationContract, config: TD3Config, num_critics: int = 2, seed: int = 0
) -> TD3Agent:
    """The agent of a configuration; targets differ from the online networks."""
    generator = torch.Generator().manual_seed(seed + 1)
    torch.manual_seed(seed + 1)
    shapes = {key: spec.stacked_shape for key, spec in contract.observations.items()}
    networks = build_networks(
        _networks(contract, num_critics)[0],
        shapes,
        ACTION_DIM,
        scalers=_scalers(contract),
        residual_scale=config.residual_scale,
    )
    bc_policy = make_bc_policy(contract, seed) if config.needs_teacher else None
    agent: TD3Agent = pkgutil.resolve_name(config.learner)(networks, config, bc_policy, seed=seed)
    for module in (agent.encoder, agent.actor, agent.critic, agent.target_actor, agent.target_critic):
        randomise(module, generator)
    return agent


def _scalers(contract: ObservationContract) -> dict[str, ObservationScaler]:
    """A scaler that shifts, scales and masks, for states."""
    if "state" not in contract.observations:
        return {}
    width = contract.observations["state"].stacked_shape[0]
    inv_scale = torch.linspace(0.0, 3.0, width)
    return {"state": ObservationScaler(torch.linspace(-0.2, 0.2, width), inv_scale, clip=2.0)}


def random_obs(contract: ObservationContract, batch: int, seed: int = 0) -> dict[str, Tensor]:
    """Stacked observations `[batch, ...]`."""
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(batch, *spec.stacked_shape, generator=generator)
        if spec.dtype == "float32"
        else torch.randint(0, 256, (batch, *spec.stacked_shape), generator=generator, dtype=torch.uint8)
        for key, spec in contract.observations.items()
    }


def margin(agent: TD3Agent, obs: dict[str, Tensor]) -> Tensor:
    """`[batch]`: how far apart the proposals' values are; where rounding could swap them, this is tiny."""
    q = agent.act(obs, explore=False).q
    return (q[0] - q[-1]).abs()
