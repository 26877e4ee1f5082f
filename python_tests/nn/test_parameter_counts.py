"""Parameter counts of the paper's networks (Figs. 17 to 20)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from ibrl_fast.nn import BCNetworkConfig, NetworkConfig, ResNet18Config, build_bc_policy, build_networks

PIXEL_SHAPES = {"camera": (3, 96, 96), "proprio": (27,)}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_pixel_networks() -> None:
    networks = build_networks(NetworkConfig.pixel_vit(), PIXEL_SHAPES, 7)
    assert count(networks.encoder) == 386_304
    assert count(networks.critic) == 4_864_002
    assert count(networks.actor) == 3_203_463


@pytest.mark.parametrize(("num_critics", "expected"), [(1, 2_185_217), (5, 10_926_085)])
def test_state_networks(num_critics: int, expected: int) -> None:
    config = NetworkConfig.state()
    config = replace(config, critic=replace(config.critic, num_critics=num_critics))
    networks = build_networks(config, {"state": (69,)}, 7)
    assert count(networks.critic) == expected
    assert count(networks.actor) == 2_178_055
    assert count(build_bc_policy(BCNetworkConfig(), {"state": (69,)}, 7)) == 2_178_055


def test_residual_actors() -> None:
    """The first layer behind the observation reads the imitation action, too: 7 columns of 1024 more."""
    for config, shapes, plain in (
        (NetworkConfig.pixel_vit(), PIXEL_SHAPES, 3_203_463),
        (NetworkConfig.state(), {"state": (69,)}, 2_178_055),
    ):
        networks = build_networks(config, shapes, 7, residual_scale=1.0)
        assert count(networks.actor) == plain + 7 * 1024


def test_drq_encoder() -> None:
    # 3*9*32 + 32 and three times 32*9*32 + 32
    networks = build_networks(NetworkConfig.pixel_drq(), {"camera": (3, 84, 84)}, 4)
    assert count(networks.encoder) == 896 + 3 * 9_248
    assert networks.encoder.num_tokens == 35 * 35 and networks.encoder.token_dim == 32


def test_resnet18_without_its_classifier() -> None:
    # ResNet-18 has 11,689,512 parameters, 513,000 in its classifier; GroupNorm has as many as BatchNorm
    config = NetworkConfig(actor=NetworkConfig.pixel_vit().actor, encoder=ResNet18Config())
    networks = build_networks(config, {"camera": (3, 84, 84)}, 4)
    assert count(networks.encoder) == 11_689_512 - 513_000
    assert networks.encoder.num_tokens == 9 and networks.encoder.token_dim == 512
    groups = [module for module in networks.encoder.modules() if isinstance(module, nn.GroupNorm)]
    assert len(groups) == 20 and all(group.num_groups == group.num_channels for group in groups)
