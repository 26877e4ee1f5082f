"""The bench's counts: operations against torch's flop counter, bytes against a sum by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ibrl_fast.nn import ActorConfig, CriticConfig, DrQConfig, NetworkConfig, ViTConfig, build_networks

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
costs = pytest.importorskip("costs")

BATCH, ACTION = 4, 3


def count(call) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def reference_round(network: NetworkConfig, shapes: dict) -> tuple[float, float]:
    """Operations of the traced formulas (no operation twice) of one critic and one actor update."""
    torch.manual_seed(0)
    networks = build_networks(network, shapes, ACTION)
    # TorchScript takes the plain formulas, whose every product the counter sees
    encoder, actor, critic = (
        torch.jit.script(part) for part in (networks.encoder, networks.actor, networks.critic)
    )
    obs = {key: torch.rand(BATCH, *shape) for key, shape in shapes.items()}

    def critic_update() -> None:
        with torch.no_grad():
            features = encoder(obs)
            proposals = torch.stack([actor(features), actor_like])
            critic(features, proposals, torch.tensor([0, 1]))
        critic(encoder(obs), actor_like.unsqueeze(0)).sum().backward()

    def actor_update() -> None:
        with torch.no_grad():
            features = encoder(obs)
        networks.critic.requires_grad_(False)
        critic(features, actor(features).unsqueeze(0)).sum().backward()
        networks.critic.requires_grad_(True)

    actor_like = torch.rand(BATCH, ACTION)
    with torch.jit.optimized_execution(False), nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
        return count(critic_update), count(actor_update)


@pytest.mark.parametrize("members", [2, 5])
def test_state_counts(members) -> None:
    network = NetworkConfig(
        actor=ActorConfig(hidden=(32, 24)), critic=CriticConfig(num_critics=members, hidden=(40, 32))
    )
    counted = reference_round(network, {"state": (10,)})
    ours = costs.state_cost(network, BATCH, 10, ACTION)
    assert ours.critic.flops == counted[0]
    # the formulas also compute the state's part of the input gradient, which nobody needs
    assert ours.actor.flops + members * 2.0 * BATCH * 10 * 40 == counted[1]


PIXEL_NETWORKS = {
    "vit": NetworkConfig(
        actor=ActorConfig(hidden=(32, 32), layer_norm=True, compress_dim=16),
        critic=CriticConfig(num_critics=2, hidden=(32, 32), embed_dim=48),
        encoder=ViTConfig(token_dim=32, num_heads=4, mlp_dim=64),
    ),
    "drq": NetworkConfig(
        actor=ActorConfig(hidden=(32, 32), compress_dim=16),
        critic=CriticConfig(num_critics=2, hidden=(32, 32), layer_norm=False, head="trunk", embed_dim=24),
        encoder=DrQConfig(channels=8),
    ),
}


@pytest.mark.parametrize("kind", PIXEL_NETWORKS)
def test_pixel_counts(kind) -> None:
    network = PIXEL_NETWORKS[kind]
    counted = reference_round(network, {"proprio": (5,), "camera": (3, 32, 32)})
    ours = costs.pixel_cost(network, BATCH, 3, 32, 5, ACTION)
    assert ours.critic.flops == pytest.approx(counted[0], rel=0.02)
    assert ours.actor.flops == pytest.approx(counted[1], rel=0.02)


def test_bytes_of_the_smallest_networks() -> None:
    """No hidden layer: one product for the actor, one for each critic, summed here number by number."""
    network = NetworkConfig(actor=ActorConfig(hidden=()), critic=CriticConfig(num_critics=2, hidden=()))
    features, rows = 10, BATCH
    ours = costs.state_cost(network, rows, features, ACTION, width=2)
    inner = features + ACTION
    actor_weights, critic_weights = (features + 1) * ACTION, inner + 1
    target = 2 * (actor_weights + rows * features + rows * ACTION)
    target += 2 * 2 * (critic_weights + 2 * rows * inner + 2 * rows)
    forward = 2 * (critic_weights + rows * inner + rows)
    backward = 2 * (rows * inner + rows) + 4 * critic_weights
    optimiser = (7 * 4 + 2 * 4) * critic_weights
    assert ours.critic.bytes == target + 2 * (forward + backward + optimiser)


def test_floor_is_the_larger_bound() -> None:
    cost = costs.Cost(flops=1e12, bytes=1e9)
    assert cost.floor_seconds(1e12, 1e12) == 1.0
    assert cost.floor_seconds(1e15, 1e9) == 1.0
