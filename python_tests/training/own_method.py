"""A method from outside the package, whole: a policy that imitates demonstrations as long as the run lasts.

It shares nothing with the package's agents but what the contract `Learner` asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ibrl_fast.agents.config import BatchRequest, MethodConfig
from ibrl_fast.agents.gate import DeploymentGate
from ibrl_fast.agents.learner import Action, LearnerSetup, Metrics, Phase, no_phase
from ibrl_fast.agents.random_source import RandomSource
from ibrl_fast.data import Batch
from ibrl_fast.errors import expect
from ibrl_fast.nn.build import build_actor, build_encoder
from ibrl_fast.nn.policies import RL_SOURCE, EncodedActor, SinglePolicy


@dataclass(frozen=True)
class MimicConfig(MethodConfig):
    """Regression on the demonstrations' actions.

    Attributes:
        rate: learning rate.
        noise: standard deviation of the noise on actions while collecting.
    """

    method: ClassVar[str] = "mine"
    learner: ClassVar[str] = "own_method:MimicLearner"

    rate: float = 1e-3
    noise: float = 0.1

    def __post_init__(self) -> None:
        expect(self.rate > 0, "rate", "> 0", self.rate)

    def batches(self, batch_size: int, critic_updates: int) -> list[BatchRequest]:
        """One batch a round, of demonstrations alone."""
        return [BatchRequest(batch_size, 1.0)]


class MimicLearner:
    """An encoder, an actor and an optimiser."""

    num_il_samples = 0
    bc_policy = None

    def __init__(self, config: MimicConfig, setup: LearnerSetup) -> None:
        self.config = config
        self.device = torch.device(setup.device)
        self.random = RandomSource(setup.seed, self.device, torch.float32)
        encoder = build_encoder(setup.network.encoder, setup.shapes, setup.scalers)
        self.net = EncodedActor(encoder, build_actor(encoder, setup.action_dim, setup.network.actor))
        self.net.to(self.device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), config.rate)
        self.counts = {"updates": 0}
        self.loads = 0

    @classmethod
    def from_setup(cls, config: MimicConfig, setup: LearnerSetup) -> MimicLearner:
        """Make the networks for a run."""
        expect(setup.teacher is None, "teacher", "None", setup.teacher)
        return cls(config, setup)

    def propose(self, obs: dict[str, Tensor]) -> None:
        """There is no teacher."""

    @torch.no_grad()
    def act(self, obs: dict[str, Tensor], explore: bool, il_action: Tensor | None = None) -> Action:
        """The policy's action, with noise where it explores."""
        action = self.net(obs)
        if explore:
            action = (action + self.config.noise * self.random.normal(tuple(action.shape))).clamp(-1, 1)
        size = action.shape[0]
        source = torch.zeros(size, dtype=torch.int64, device=self.device)
        return Action(action, source, torch.zeros(1, size, device=self.device), None)

    def update(self, batches: Sequence[Batch], phase: Phase = no_phase) -> list[Metrics]:
        """One step on the mean squared error."""
        (batch,) = batches
        with phase("imitate"):
            loss = (self.net(batch.obs) - batch.action).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.counts["updates"] += 1
        return [{"imitation_loss": loss.detach()}]

    def policy(self) -> nn.Module:
        """The policy itself."""
        return SinglePolicy(self.net, RL_SOURCE)

    def policy_alone(self) -> nn.Module:
        """The same: there is no teacher."""
        return self.policy()

    def gate(self) -> DeploymentGate | None:
        """None: there is no other policy to deploy."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser, random state."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.state_dict(),
            "counts": dict(self.counts),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from state_dict()."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.load_state_dict(state["random"])
        self.counts.update(state["counts"])
        self.loads += 1
