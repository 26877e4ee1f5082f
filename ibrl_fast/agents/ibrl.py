"""IBRL: TD3 that chooses between its actor's and an imitation policy's action, acting and in the target."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ibrl_fast.agents.config import IBRLConfig
from ibrl_fast.agents.precision import in_precision
from ibrl_fast.agents.td3 import Action, Features, TD3Agent
from ibrl_fast.data import Batch
from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn import Networks

Source = Literal["hybrid", "rl", "il"]


class IBRLAgent(TD3Agent):
    """Algorithm 1 of the paper, greedy or soft.

    Args:
        networks: modules made by build_networks; the agent owns them from here on.
        config: hyper-parameters.
        bc_policy: mu, obs dict to actions `[N, action_dim]` or samples `[N, S, action_dim]`; frozen here.
        seed: of every random number drawn by the agent.
        device: where the networks live.
        dtype: of weights and losses; float64 serves the tests.
    """

    config: IBRLConfig

    def __init__(
        self,
        networks: Networks,
        config: IBRLConfig,
        bc_policy: nn.Module,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(networks, config, seed=seed, device=device, dtype=dtype)
        self.bc_policy = bc_policy.to(self.device, dtype).requires_grad_(False).eval()
        self.beta = config.beta
        self.acting_rule = config.acting_rule
        self.bootstrap_rule = config.bootstrap_rule

    @torch.no_grad()
    @in_precision
    def il_actions(self, obs: dict[str, Tensor]) -> Tensor:
        """The imitation policy's proposals `[N, samples, action_dim]`, without noise."""
        action = self.bc_policy(obs).to(self.dtype)
        return action.unsqueeze(1) if action.dim() == 2 else action

    @torch.no_grad()
    @in_precision
    def act(
        self,
        obs: dict[str, Tensor],
        explore: bool,
        *,
        source: Source = "hybrid",
        il_action: Tensor | None = None,
    ) -> Action:
        """Choose actions for N environments (Alg. 1 lines 7 to 9).

        Args:
            obs: stacked observations, each `[N, ...]`, on the agent's device.
            explore: noise on the RL action, a random subset of critics, a soft draw if beta is set;
                otherwise the choice is deterministic: no noise, all critics, the best proposal.
            source: who may propose: `hybrid` as configured, `il` the imitation policy alone (warm-up, its own
                evaluation), `rl` the actor alone.
            il_action: `[N, samples, action_dim]`, what il_actions says of obs, where it is known already.
        """
        if source not in ("hybrid", "rl", "il"):
            raise ArgumentError(f"source: expected hybrid, rl or il, got {source}")
        size = self._check_obs(obs)
        if il_action is None:
            il_action = self.il_actions(obs)
        self._check_proposals("il_action", il_action, size)
        features = self._encode(obs)
        # the proposals that may act, RL first
        proposals = []
        if source != "il":
            proposals.append(self._rl_proposal(features, explore).unsqueeze(0))
        if source == "il" or (source == "hybrid" and self.config.actor_proposal):
            proposals.append(il_action.transpose(0, 1))
        chosen = self._choose(features, torch.cat(proposals), il_action, explore)
        if source == "il":
            chosen.source = torch.ones_like(chosen.source)
        return chosen

    @in_precision
    def update_critic(self, batch: Batch, *, bootstrap: Source = "hybrid") -> dict[str, Tensor]:
        """One step of all critics and the encoder, and the EMA of the critics (Alg. 1 lines 16 to 19).

        Args:
            batch: transitions, with the imitation policy's actions at the next states.
            bootstrap: who proposes in the target: `hybrid` as configured, `il` alone (the critics then value
                the imitation policy: a warm start), `rl` alone.

        Returns:
            Scalars on the device: critic_loss (sum over critics), q_mean, target_mean, il_share_bootstrap.
        """
        if bootstrap not in ("hybrid", "rl", "il"):
            raise ArgumentError(f"bootstrap: expected hybrid, rl or il, got {bootstrap}")
        self._check_batch(batch)
        with torch.no_grad():
            features, proposals = self._next_proposals(batch, bootstrap)
            target, choice = self._bootstrap(batch, features, proposals)
        # without the RL proposal every choice is an IL action
        return self._regress(batch, target, choice + 1 if bootstrap == "il" else choice)

    def _next_proposals(self, batch: Batch, bootstrap: Source) -> tuple[Features, Tensor]:
        """Features of the next states and the proposals `[P, batch, action_dim]` there, RL first."""
        features = self._encode(batch.next_obs)
        proposals = []
        if bootstrap != "il":
            proposals.append(self._target_rl_proposal(features, len(batch)).unsqueeze(0))
        if bootstrap == "il" or (bootstrap == "hybrid" and self.config.bootstrap_proposal):
            proposals.append(batch.il_action_next.transpose(0, 1))
        return features, torch.cat(proposals)

    def _check_batch(self, batch: Batch) -> None:
        """Refuse a batch whose parts do not fit together, the cached IL actions included."""
        super()._check_batch(batch)
        self._check_proposals("il_action_next", batch.il_action_next, len(batch))

    def _check_proposals(self, name: str, proposals: Tensor, size: int) -> None:
        """Refuse proposals that are not `[size, samples, action_dim]` with at least one sample."""
        shape = tuple(proposals.shape)
        if len(shape) != 3 or shape[1] < 1 or (shape[0], shape[2]) != (size, self.action_dim):
            raise ArgumentError(f"{name}: expected {[size, 'S', self.action_dim]}, got {list(shape)}")

    def _modules(self) -> dict[str, nn.Module]:
        """Everything with weights, by name."""
        return {**super()._modules(), "bc_policy": self.bc_policy}
