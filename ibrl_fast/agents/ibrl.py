"""IBRL: TD3 that chooses between its actor's and an imitation policy's action, acting and in the target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ibrl_fast.agents.config import IBRLConfig
from ibrl_fast.agents.gate import DeploymentGate
from ibrl_fast.agents.td3 import TD3Agent
from ibrl_fast.nn.policies import HybridPolicy


class IBRLAgent(TD3Agent):
    """Algorithm 1 of the paper, greedy or soft; arguments as TD3Agent's."""

    config: IBRLConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.beta = self.config.beta
        self.acting_rule = self.config.acting_rule
        self.bootstrap_rule = self.config.bootstrap_rule

    def _acting_proposals(self, rl_action: Tensor, il_action: Tensor | None) -> Tensor:
        """Return the RL action and, unless that is ablated, those of the imitation policy."""
        if not self.config.actor_proposal:
            return rl_action.unsqueeze(0)
        assert il_action is not None
        return torch.cat([rl_action.unsqueeze(0), il_action.transpose(0, 1)])

    def _bootstrap_proposals(self, rl_action: Tensor, il_action: Tensor) -> Tensor:
        """Return the target actor's action and, unless that is ablated, those of the imitation policy."""
        if not self.config.bootstrap_proposal:
            return rl_action.unsqueeze(0)
        return torch.cat([rl_action.unsqueeze(0), il_action.transpose(0, 1)])

    def policy(self) -> nn.Module:
        """Return the hybrid policy; without the actor proposal, the actor's alone."""
        if not self.config.actor_proposal:
            return super().policy()
        assert self.bc_policy is not None
        rule = self.acting_rule
        return HybridPolicy(
            self.encoder,
            self.actor,
            self.target_critic,
            self.bc_policy,
            residual=self.config.residual,
            rule=rule.kind,
            std_factor=rule.std_factor,
            margin=rule.margin,
        )

    def gate(self) -> DeploymentGate | None:
        """As configured."""
        return None if self.config.gate is None else DeploymentGate(self.config.gate)
