"""Exported policies for the mock robot: TorchScript files that `load_policy` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Dict  # noqa: UP035 (the words that TorchScript reads)

import torch
from robot_helpers import STATE
from torch import Tensor, nn

from ibrl_fast.agents import IBRLConfig, TD3Agent
from ibrl_fast.deploy import ObservationContract
from ibrl_fast.deploy.export import export_policy
from ibrl_fast.nn import (
    ActorConfig,
    BCNetworkConfig,
    CriticConfig,
    NetworkConfig,
    build_bc_policy,
    build_networks,
)

CONTRACT = ObservationContract(STATE, 4, control_period=0.1, metadata={"task": "robot/lift"})


class LiftPolicy(nn.Module):
    """Go to the block, grasp it, go up: the written policy `robot_helpers.lift` as a module."""

    def forward(self, obs: Dict[str, Tensor]) -> Tensor:  # noqa: UP006
        state = obs["state"]
        way = state[:, 9:] - state[:, :3]
        far = way.square().sum(1, keepdim=True) > 1e-4
        grasped = (state[:, 7:8] < 0.0405) & (state[:, 8:9] < 0.01)
        go = torch.cat([(way / 0.03).clamp(-1.0, 1.0), -torch.ones_like(way[:, :1])], 1)
        up = torch.zeros_like(go)
        up[:, 2:3] = 0.5 * grasped.to(way.dtype)
        up[:, 3] = 1.0
        return torch.where(far, go, up)


def export_lift(path: Path) -> Path:
    """The written policy as a file."""
    return export_policy(LiftPolicy(), path, contract=CONTRACT)


def export_hybrid(path: Path, seed: int = 0) -> Path:
    """An untrained hybrid policy, which chooses between two proposals."""
    torch.manual_seed(seed)
    actor = ActorConfig(hidden=(16, 16))
    shapes = {"state": (12,)}
    networks = build_networks(NetworkConfig(actor, CriticConfig(2, (16, 16))), shapes, 4)
    bc_policy = build_bc_policy(BCNetworkConfig(actor), shapes, 4)
    config = IBRLConfig()
    from ibrl_fast.agents.ibrl import IBRLAgent

    agent: TD3Agent = IBRLAgent(networks, config, bc_policy, seed=seed)
    return export_policy(agent, path, contract=CONTRACT)
