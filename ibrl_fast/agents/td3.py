"""TD3 with an ensemble of critics (Alg. 1 without its proposals): the base that the other methods vary."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ibrl_fast.agents.config import ProposalRule, TD3Config
from ibrl_fast.agents.flat_adam import FlatAdam
from ibrl_fast.agents.flat_parameters import FlatParameters
from ibrl_fast.agents.precision import Precision, in_precision
from ibrl_fast.agents.proposals import bootstrap_target, select_action
from ibrl_fast.agents.random_source import RandomSource
from ibrl_fast.data import Batch
from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn import Networks

Features = Any  # [batch, features], or tokens [batch, tokens, dim] with proprioception [batch, proprio_dim]


@dataclass
class Action:
    """What an agent does in N environments, and why.

    Attributes:
        action: `[N, action_dim]` in [-1, 1].
        source: `[N]` int64: 0 for the RL action, 1 for an IL action.
        q: `[proposals, N]`, the value of each proposal: the minimum over the critics that were asked.
        il_action: `[N, samples, action_dim]`, what the imitation policy proposed; None without one.
    """

    action: Tensor
    source: Tensor
    q: Tensor
    il_action: Tensor | None


class TD3Agent:
    """Actor, critics and their targets, with the updates of Algorithm 1.

    Args:
        networks: modules made by build_networks; the agent owns them from here on.
        config: hyper-parameters.
        seed: of every random number drawn by the agent.
        device: where the networks live.
        dtype: of weights and losses; float64 serves the tests.
    """

    beta: float | None = None
    acting_rule = ProposalRule()
    bootstrap_rule = ProposalRule()

    def __init__(
        self,
        networks: Networks,
        config: TD3Config,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.dtype = dtype
        self.precision = Precision(config.precision, self.device)
        self.random = RandomSource(seed, self.device, dtype)
        self.shapes = networks.shapes
        self.encoder = networks.encoder.to(self.device, dtype)
        self.actor = networks.actor.to(self.device, dtype)
        self.critic = networks.critic.to(self.device, dtype)
        self.action_dim = int(self.actor.action_dim)  # type: ignore[arg-type]
        self.num_critics = int(self.critic.num_critics)  # type: ignore[arg-type]
        if config.subset_size > self.num_critics:
            raise ArgumentError(
                f"subset_size: expected <= {self.num_critics} critics, got {config.subset_size}"
            )
        # targets; the encoder has none
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self._all_critics = torch.arange(self.num_critics, device=self.device)
        # the encoder learns from the critics alone; an optimiser moves its target along
        self._critic_parameters = list(self.critic.parameters())
        trained_by_critic = [*self.encoder.parameters(), *self._critic_parameters]
        self.actor_optimizer = self._adam(self.actor.parameters(), self.target_actor)
        self.critic_optimizer = self._adam(trained_by_critic, self.target_critic)
        self.critic_updates = 0
        self.actor_updates = 0
        # how often load_state_dict was called: tensors that a captured graph knows may be others since
        self.loads = 0

    # ---- acting

    @torch.no_grad()
    @in_precision
    def act(self, obs: dict[str, Tensor], explore: bool) -> Action:
        """Choose actions for N environments.

        Args:
            obs: stacked observations, each `[N, ...]`, on the agent's device.
            explore: noise on the RL action and a random subset of critics; otherwise the choice is
                deterministic: no noise, the minimum over all critics, the best proposal.
        """
        self._check_obs(obs)
        features = self._encode(obs)
        return self._choose(features, self._rl_proposal(features, explore).unsqueeze(0), None, explore)

    def eval_action(self, obs: dict[str, Tensor]) -> Tensor:
        """The action `[N, action_dim]` of the result of training: act without exploration."""
        return self.act(obs, explore=False).action

    def _rl_proposal(self, features: Features, explore: bool) -> Tensor:
        """The actor's action `[N, action_dim]`; dropout is off."""
        with self._autocast():
            action = self.actor(features).to(self.dtype)
        if explore:
            noise = self.random.normal((action.shape[0], action.shape[1]))
            action = (action + self.config.exploration_std * noise).clamp_(-1.0, 1.0)
        return action

    def _choose(
        self, features: Features, proposals: Tensor, il_action: Tensor | None, explore: bool
    ) -> Action:
        """Value the proposals `[P, N, action_dim]` by the target critics and select."""
        rule = self.acting_rule
        subset = self._draw_subset() if explore else None
        q, subset = self._target_values(features, proposals, subset, rule)
        beta = self.beta if explore else None
        action, choice = select_action(q, proposals, subset, rule, beta, self.random)
        values = q.amin(1) if rule.is_paper else q.index_select(1, subset).amin(1)
        return Action(action, choice.clamp(max=1), values, il_action)

    # ---- updates

    @in_precision
    def update_critic(self, batch: Batch) -> dict[str, Tensor]:
        """One step of all critics and the encoder, and the EMA of the critics (Alg. 1 lines 16 to 19).

        Returns:
            Scalars on the device: critic_loss (sum over critics), q_mean, target_mean, il_share_bootstrap.
        """
        self._check_batch(batch)
        with torch.no_grad():
            target, choice = self._target(batch)
        return self._regress(batch, target, choice)

    def _regress(self, batch: Batch, target: Tensor, choice: Tensor) -> dict[str, Tensor]:
        """One step of every critic and the encoder towards the one target `[batch]`, and the EMA."""
        with self._autocast():
            features = self.encoder(batch.obs)
            q = self.critic(features, batch.action.unsqueeze(0))[0].to(self.dtype)
        loss = (q - target).square().mean(1).sum()
        self._step(loss, self.critic_optimizer)
        self.critic_updates += 1
        return {
            "critic_loss": loss.detach(),
            "q_mean": q.detach().mean(),
            "target_mean": target.mean(),
            "il_share_bootstrap": (choice > 0).to(self.dtype).mean(),
        }

    @in_precision
    def update_actor(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the actor and its EMA (Alg. 1 lines 21 and 22); the encoder learns nothing from it.

        Returns:
            Scalars on the device: actor_loss.
        """
        self._check_batch(batch)
        with torch.no_grad():
            features = self._encode(batch.obs)
        with self._autocast(), _frozen(self._critic_parameters):
            action = self.actor(features, self._dropout_mask(len(batch))).to(self.dtype)
            q = self.critic(features, action.unsqueeze(0))[0].to(self.dtype)
        loss = -q.amin(0).mean()
        self._step(loss, self.actor_optimizer)
        self.actor_updates += 1
        return {"actor_loss": loss.detach()}

    def sync_targets(self) -> None:
        """Copy actor and critics into their targets, for example after the actor was pretrained."""
        self.target_actor.load_state_dict(self.actor.state_dict())
        self.target_critic.load_state_dict(self.critic.state_dict())

    def _target(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Target `[batch]` and choice `[batch]` of the critics' regression."""
        features = self._encode(batch.next_obs)
        return self._bootstrap(batch, features, self._target_rl_proposal(features, len(batch)).unsqueeze(0))

    def _target_rl_proposal(self, features: Features, size: int) -> Tensor:
        """The target actor's noisy action `[batch, action_dim]`; dropout is on."""
        with self._autocast():
            action = self.target_actor(features, self._dropout_mask(size)).to(self.dtype)
        noise = self.random.normal((size, self.action_dim)).mul_(self.config.exploration_std)
        noise.clamp_(-self.config.noise_clip, self.config.noise_clip)
        return (action + noise).clamp_(-1.0, 1.0)

    def _bootstrap(self, batch: Batch, features: Features, proposals: Tensor) -> tuple[Tensor, Tensor]:
        """Target and choice from next features and proposals `[P, batch, action_dim]`."""
        rule = self.bootstrap_rule if proposals.shape[0] > 1 else ProposalRule()
        q, subset = self._target_values(features, proposals, self._draw_subset(), rule)
        return bootstrap_target(q, batch.reward, batch.discount, subset, rule, self.beta, self.random)

    # ---- shared parts

    def _encode(self, obs: dict[str, Tensor]) -> Features:
        """What actor and critics read; to be called without gradients."""
        with self._autocast():
            return self.encoder(obs)

    def _draw_subset(self) -> Tensor | None:
        """The critics of one use, `[K]`; None stands for all of them."""
        if self.config.subset_size == self.num_critics:
            return None
        return self.random.subset(self.num_critics, self.config.subset_size)

    def _target_values(
        self, features: Features, proposals: Tensor, subset: Tensor | None, rule: ProposalRule
    ) -> tuple[Tensor, Tensor]:
        """Values `[P, critics, batch]` of the target critics, and the subset as indices into them."""
        computed = subset if rule.is_paper else None
        with self._autocast():
            q = self.target_critic(features, proposals, computed).to(self.dtype)
        if subset is None:
            return q, self._all_critics
        return q, self._all_critics[: subset.shape[0]] if rule.is_paper else subset

    def _dropout_mask(self, size: int) -> Tensor | None:
        """A fresh mask for the actor, `[size, dropout_width]`; None where the actor has no dropout."""
        dropout = float(self.actor.dropout)  # type: ignore[arg-type]
        if dropout == 0.0:
            return None
        return self.random.dropout_mask(size, int(self.actor.dropout_width), dropout)  # type: ignore[arg-type]

    def _autocast(self) -> AbstractContextManager[Any]:
        """Matrix products in the configured precision."""
        return self.precision.autocast()

    def _adam(self, parameters: Iterable[nn.Parameter], target: nn.Module) -> FlatAdam:
        """Adam for the parameters, whose last ones the target follows; all in flat storage."""
        group, followers = FlatParameters(parameters), FlatParameters(target.parameters())
        return FlatAdam(group, self.config.learning_rate, target=followers, rho=self.config.polyak)

    @staticmethod
    def _step(loss: Tensor, optimizer: FlatAdam) -> None:
        """Gradients of the loss for the optimiser's parameters alone, one step, and the EMA of its target."""
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    # ---- checks: shapes only, so that nothing waits for the device

    def _check_obs(self, obs: dict[str, Tensor], name: str = "obs") -> int:
        """Refuse observations that the encoder does not expect; returns their number."""
        if not self.shapes.keys() <= obs.keys():
            raise ArgumentError(f"{name}: expected keys {sorted(self.shapes)}, got {sorted(obs)}")
        size = int(next(iter(obs.values())).shape[0])
        for key, shape in self.shapes.items():
            if tuple(obs[key].shape) != (size, *shape):
                raise ArgumentError(f"{name}[{key}]: expected {[size, *shape]}, got {list(obs[key].shape)}")
        return size

    def _check_batch(self, batch: Batch) -> None:
        """Refuse a batch whose parts do not fit together."""
        size = self._check_obs(batch.obs)
        if self._check_obs(batch.next_obs, "next_obs") != size:
            raise ArgumentError(
                f"next_obs: expected {size} rows, got {self._check_obs(batch.next_obs, 'next_obs')}"
            )
        for name, shape in (("action", (size, self.action_dim)), ("reward", (size,)), ("discount", (size,))):
            got = tuple(getattr(batch, name).shape)
            if got != shape:
                raise ArgumentError(f"{name}: expected {list(shape)}, got {list(got)}")

    # ---- saving

    def _modules(self) -> dict[str, nn.Module]:
        """Everything with weights, by name."""
        return {
            "encoder": self.encoder,
            "actor": self.actor,
            "critic": self.critic,
            "target_actor": self.target_actor,
            "target_critic": self.target_critic,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that training needs to go on bit for bit: weights, optimisers, random state."""
        return {
            "modules": {name: module.state_dict() for name, module in self._modules().items()},
            "actor_optimizer": self.actor_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "random": self.random.state_dict(),
            "critic_updates": self.critic_updates,
            "actor_updates": self.actor_updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what state_dict returned; the networks must have the same sizes."""
        modules = self._modules()
        if state["modules"].keys() != modules.keys():
            raise ArgumentError(f"modules: expected {sorted(modules)}, got {sorted(state['modules'])}")
        for name, module in modules.items():
            module.load_state_dict(state["modules"][name])
        self.actor_optimizer.load_state_dict(state["actor_optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
        self.random.load_state_dict(state["random"])
        self.critic_updates = int(state["critic_updates"])
        self.actor_updates = int(state["actor_updates"])
        self.loads += 1


@contextmanager
def _frozen(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Gradients flow through these weights, none is computed for them."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
