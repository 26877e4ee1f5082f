"""The result of training as one scriptable module: what evaluation, export and robots run.

Each has `act`: stacked observations to (action `[N, action_dim]`, source `[N]` int64: 0 = RL, 1 = IL), and
`contract_json`: what it expects and returns, empty until `deploy.make_policy_module` writes it there.
"""

from __future__ import annotations

from typing import Dict, Literal, Tuple  # noqa: UP035 (the words that TorchScript reads)

import torch
from torch import Tensor, nn

from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn.proposal_scores import score_proposals

RL_SOURCE, IL_SOURCE = 0, 1


class HybridPolicy(nn.Module):
    """The result of IBRL: the best of the actor's and the imitation policy's proposals (paper Eq. 1, greedy).

    Deterministic: no exploration noise, no dropout, all target critics instead of a random subset; equal
    scores go to the actor. The modules are shared, not copied: the policy follows further training.

    Args:
        encoder: obs dict to features.
        actor: features, and the imitation action where it is residual, to action `[N, action_dim]`.
        target_critic: features and proposals `[P, N, action_dim]` to values `[P, num_critics, N]`.
        bc_policy: obs dict to action `[N, action_dim]` or samples `[N, S, action_dim]`.
        residual: whether the actor corrects the imitation policy's (first) action.
        rule, std_factor, margin: how proposals are scored (agents.ProposalRule); the default is the paper's.

    The buffer `rl_enabled` (bool `[]`, true at first) decides whether the RL action may be chosen at all: see
    `enable_rl` and ibrl_fast/agents/gate.py.
    """

    # TorchScript compiles only the branch that a constant takes
    __constants__ = ("residual",)

    def __init__(
        self,
        encoder: nn.Module,
        actor: nn.Module,
        target_critic: nn.Module,
        bc_policy: nn.Module,
        *,
        residual: bool = False,
        rule: Literal["min", "lcb", "paired"] = "min",
        std_factor: float = 0.0,
        margin: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.actor = actor
        self.target_critic = target_critic
        self.bc_policy = bc_policy
        self.residual = bool(residual)
        self.rule = str(rule)
        self.std_factor = float(std_factor)
        self.margin = float(margin)
        self.contract_json = ""
        device = next(actor.parameters()).device
        self.register_buffer("rl_enabled", torch.ones((), dtype=torch.bool, device=device))

    def forward(self, obs: Dict[str, Tensor]) -> Tensor:  # noqa: UP006
        """Map stacked observations, each `[N, ...]`, to actions `[N, action_dim]`."""
        return self.act(obs)[0]

    @torch.jit.export
    def act(self, obs: Dict[str, Tensor]) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        """Map stacked observations to actions `[N, action_dim]` and source `[N]` int64: 0 = RL, 1 = IL."""
        action, source, _, _ = self.consider(obs)
        return action, source

    @torch.jit.export
    def consider(self, obs: Dict[str, Tensor]) -> Tuple[Tensor, Tensor, Tensor, Tensor]:  # noqa: UP006
        """As `act`, then what was chosen from: proposals `[P, N, action_dim]` and scores `[P, N]`."""
        with torch.no_grad():
            # one pass of the encoder serves actor and critics
            features = self.encoder(obs)
            il_action = self.bc_policy(obs)
            il_proposals = il_action.unsqueeze(0) if il_action.dim() == 2 else il_action.transpose(0, 1)
            if self.residual:  # noqa: SIM108 (a branch that TorchScript leaves out)
                rl_action = self.actor(features, il_proposals[0])
            else:
                rl_action = self.actor(features)
            proposals = torch.cat([rl_action.unsqueeze(0), il_proposals])
            # argmax takes the lowest index among equals: RL
            scores = self.score(self.target_critic(features, proposals))
            choice = scores.argmax(0)
            index = choice.view(1, -1, 1).expand(1, -1, proposals.shape[2])
            action = proposals.gather(0, index)[0]
        return action, choice.clamp(max=1), proposals, scores

    @torch.jit.export
    def score(self, q: Tensor) -> Tensor:
        """Score values `[P, num_critics, N]`, RL first, to `[P, N]` by all critics."""
        value = score_proposals(q, None, self.rule, self.std_factor, self.margin)
        rl_value = value[0].masked_fill(~self.rl_enabled, float("-inf"))  # type: ignore[operator]
        return torch.cat([rl_value.unsqueeze(0), value[1:]])


def enable_rl(policy: nn.Module, enabled: bool) -> None:
    """Let a `HybridPolicy` (scripted copies follow) choose the RL action, or the imitation policy alone."""
    if not isinstance(policy, HybridPolicy):
        raise TypeError(f"policy: expected HybridPolicy, got {type(policy).__name__}")
    policy.get_buffer("rl_enabled").fill_(enabled)


class SinglePolicy(nn.Module):
    """A policy without a choice: the imitation policy alone, or an encoder and an actor.

    Args:
        policy: obs dict to action `[N, action_dim]`, or samples `[N, S, action_dim]`, of which the first
            acts; shared, not copied.
        source: what `act` reports, 0 = RL, 1 = IL.
    """

    def __init__(self, policy: nn.Module, source: int) -> None:
        super().__init__()
        if source not in (RL_SOURCE, IL_SOURCE):
            raise ArgumentError(f"source: expected 0 (RL) or 1 (IL), got {source}")
        self.policy = policy
        self.source = int(source)
        self.contract_json = ""

    def forward(self, obs: Dict[str, Tensor]) -> Tensor:  # noqa: UP006
        """Map stacked observations, each `[N, ...]`, to actions `[N, action_dim]`."""
        return self.act(obs)[0]

    @torch.jit.export
    def act(self, obs: Dict[str, Tensor]) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        """Map stacked observations to actions `[N, action_dim]` and their source `[N]` int64, a constant."""
        with torch.no_grad():
            action = self.policy(obs)
            if action.dim() == 3:
                action = action[:, 0]
            source = torch.full((action.shape[0],), self.source, dtype=torch.int64, device=action.device)
        return action, source


class EncodedActor(nn.Module):
    """An encoder and the actor that reads its features.

    Args:
        encoder: obs dict to features.
        actor: features to action `[N, action_dim]`.
    """

    def __init__(self, encoder: nn.Module, actor: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.actor = actor

    def forward(self, obs: Dict[str, Tensor]) -> Tensor:  # noqa: UP006
        """Map stacked observations, each `[N, ...]`, to actions `[N, action_dim]`; dropout off."""
        return self.actor(self.encoder(obs))


class ResidualPolicy(nn.Module):
    """An imitation policy, and a residual actor that corrects its (first) action.

    Args:
        encoder: obs dict to features.
        actor: features and imitation action to action `[N, action_dim]`.
        bc_policy: obs dict to action `[N, action_dim]` or samples `[N, S, action_dim]`.
    """

    def __init__(self, encoder: nn.Module, actor: nn.Module, bc_policy: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.actor = actor
        self.bc_policy = bc_policy

    def forward(self, obs: Dict[str, Tensor]) -> Tensor:  # noqa: UP006
        """Map stacked observations, each `[N, ...]`, to actions `[N, action_dim]`; dropout off."""
        il_action = self.bc_policy(obs)
        base = il_action if il_action.dim() == 2 else il_action[:, 0]
        return self.actor(self.encoder(obs), base)
