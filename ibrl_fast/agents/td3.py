"""TD3 with an ensemble of critics: Algorithm 1, whose lines about proposals the methods fill in.

One round reads from top to bottom: act (lines 6 to 9), update (14 to 22), and the parts that both use.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ibrl_fast.agents.config import ProposalRule, TD3Config
from ibrl_fast.agents.flat_adam import FlatAdam
from ibrl_fast.agents.flat_parameters import FlatParameters
from ibrl_fast.agents.gate import DeploymentGate
from ibrl_fast.agents.gradients import frozen
from ibrl_fast.agents.input_checks import check_batch, check_obs, check_proposals, check_setup
from ibrl_fast.agents.learner import Action, LearnerSetup, Metrics, Phase, no_phase
from ibrl_fast.agents.precision import Precision, in_precision
from ibrl_fast.agents.proposals import bootstrap_target, select_action
from ibrl_fast.agents.random_source import RandomSource
from ibrl_fast.data import Batch
from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn import Networks, build_networks
from ibrl_fast.nn.bases import Actor
from ibrl_fast.nn.policies import RL_SOURCE, EncodedActor, ResidualPolicy, SinglePolicy

Features = Any  # [batch, features], or tokens [batch, tokens, dim] with proprioception [batch, proprio_dim]


class TD3Agent:
    """Actor, critics and their targets, with the updates of Algorithm 1; a `Learner`.

    Args:
        networks: modules made by build_networks, with a residual actor if the configuration says so; the
            agent owns them from here on.
        config: hyper-parameters.
        bc_policy: mu, obs to actions or samples, exactly where config.needs_teacher; frozen here.
        seed: of every random number drawn by the agent.
        device: where the networks live.
        dtype: of weights and losses; float64 serves the tests.

    Raises:
        ArgumentError: more critics asked than there are, or a teacher too many or too few.
    """

    beta: float | None = None
    acting_rule = ProposalRule()
    bootstrap_rule = ProposalRule()

    def __init__(
        self,
        networks: Networks,
        config: TD3Config,
        bc_policy: nn.Module | None = None,
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
        self.action_dim = self.actor.action_dim
        self.num_critics = self.critic.num_critics
        self.num_il_samples = check_setup(config, self.num_critics, bc_policy)
        self.bc_policy = bc_policy
        if bc_policy is not None:
            bc_policy.to(self.device, dtype).eval()
            for parameter in bc_policy.parameters():
                parameter.requires_grad_(False)
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self._all_critics = torch.arange(self.num_critics, device=self.device)
        # the encoder learns from the critics alone; an optimiser moves its target along
        self._critic_parameters = list(self.critic.parameters())
        trained_by_critic = [*self.encoder.parameters(), *self._critic_parameters]
        self.actor_optimizer = self._adam(self.actor.parameters(), self.target_actor)
        self.critic_optimizer = self._adam(trained_by_critic, self.target_critic)
        self.counts = {"critic_updates": 0, "actor_updates": 0}
        self.loads = 0

    @classmethod
    def from_setup(cls, config: TD3Config, setup: LearnerSetup) -> TD3Agent:
        """Make networks and agent for a run."""
        scale = config.residual_scale
        networks = build_networks(
            setup.network, setup.shapes, setup.action_dim, scalers=setup.scalers, residual_scale=scale
        )
        return cls(networks, config, setup.teacher, seed=setup.seed, device=setup.device)

    # ---- acting

    @torch.no_grad()
    @in_precision
    def propose(self, obs: dict[str, Tensor]) -> Tensor | None:
        """Return the imitation policy's proposals `[N, samples, action_dim]`; None without one."""
        if self.bc_policy is None:
            return None
        action = self.bc_policy(obs).to(self.dtype)
        return action.unsqueeze(1) if action.dim() == 2 else action

    @torch.no_grad()
    @in_precision
    def act(self, obs: dict[str, Tensor], explore: bool, il_action: Tensor | None = None) -> Action:
        """Choose actions for N environments (Alg. 1 lines 7 to 9).

        Args:
            obs: stacked observations, each `[N, ...]`, on the agent's device.
            explore: noise on the RL action, a random subset of critics, a soft draw if beta is set;
                otherwise the choice is deterministic: no noise, all critics, the best proposal.
            il_action: `[N, samples, action_dim]`, what propose says of obs, where it is known already.
        """
        size = check_obs(obs, self.shapes)
        if il_action is None:
            il_action = self.propose(obs)
        if il_action is not None:
            check_proposals("il_action", il_action, size, self.action_dim)
        features = self._encode(obs)

        # the RL action, with noise but without dropout
        with self.precision.autocast():
            rl_action = self._actor_action(self.actor, features, il_action, None)
        if explore:
            noise = self.random.normal((size, self.action_dim))
            rl_action = (rl_action + self.config.exploration_std * noise).clamp_(-1.0, 1.0)

        # the target critics choose among the proposals
        proposals = self._acting_proposals(rl_action, il_action)
        rule = self.acting_rule
        subset = self._draw_subset() if explore else None
        q, subset = self._target_values(features, proposals, subset, rule)
        beta = self.beta if explore else None
        action, choice = select_action(q, proposals, subset, rule, beta, self.random)
        values = q.amin(1) if rule.is_paper else q.index_select(1, subset).amin(1)
        return Action(action, choice.clamp(max=1), values, il_action)

    def _acting_proposals(self, rl_action: Tensor, il_action: Tensor | None) -> Tensor:
        """Return what may be done, `[P, N, action_dim]`, the RL action first; TD3 has no other."""
        return rl_action.unsqueeze(0)

    # ---- updates

    def update(self, batches: Sequence[Batch], phase: Phase = no_phase) -> list[Metrics]:
        """One round: the critics on each batch, then the actor on the last one (Alg. 1 lines 14 to 22).

        Args:
            batches: at least one, with the imitation policy's actions where the method has one.
            phase: wraps the parts `critic` and `actor`, for example in a timer.
        """
        metrics = self.warm_up(batches, phase)
        with phase("actor"):
            metrics.append(self.update_actor(batches[-1]))
        return metrics

    def warm_up(self, batches: Sequence[Batch], phase: Phase = no_phase) -> list[Metrics]:
        """Update the critics on each batch; the actor stays as it is."""
        metrics = []
        for batch in batches:
            with phase("critic"):
                metrics.append(self.update_critic(batch))
        return metrics

    @in_precision
    def update_critic(self, batch: Batch) -> Metrics:
        """One step of all critics and the encoder, and the EMA of the critics (Alg. 1 lines 16 to 19).

        Returns:
            Scalars on the device: critic_loss (sum over critics), q_mean, target_mean, il_share_bootstrap.
        """
        check_batch(batch, self.shapes, self.action_dim, self.num_il_samples)

        # the target: what the best proposal at the next state is worth (lines 16 and 17)
        with torch.no_grad():
            features = self._encode(batch.next_obs)
            rl_action = self._target_action(features, batch.il_action_next, len(batch))
            proposals = self._bootstrap_proposals(rl_action, batch.il_action_next)
            rule = self.bootstrap_rule if proposals.shape[0] > 1 else ProposalRule()
            q, subset = self._target_values(features, proposals, self._draw_subset(), rule)
            target, choice = bootstrap_target(
                q, batch.reward, batch.discount, subset, rule, self.beta, self.random
            )

        # every critic regresses towards that one target (lines 18 and 19)
        with self.precision.autocast():
            features = self.encoder(batch.obs)
            q = self.critic(features, batch.action.unsqueeze(0)).squeeze(0).to(self.dtype)
        error = q.detach() - target
        self._step(q, error * (2.0 / len(batch)), self.critic_optimizer)  # gradient of the loss below
        self.counts["critic_updates"] += 1
        return {
            "critic_loss": error.square_().mean(1).sum(),
            "q_mean": q.detach().mean(),
            "target_mean": target.mean(),
            "il_share_bootstrap": (choice > 0).to(self.dtype).mean(),
        }

    @in_precision
    def update_actor(self, batch: Batch) -> Metrics:
        """One step of the actor and its EMA (Alg. 1 lines 21 and 22); the encoder learns nothing from it.

        Returns:
            Scalars on the device: actor_loss.
        """
        loss = self._actor_loss(batch)
        self._step(loss, None, self.actor_optimizer)
        self.counts["actor_updates"] += 1
        return {"actor_loss": loss.detach()}

    def _actor_loss(self, batch: Batch) -> Tensor:
        """Return how far the actor is from what the online critics value most (Alg. 1 line 21)."""
        check_batch(batch, self.shapes, self.action_dim, self.num_il_samples)
        with torch.no_grad():
            features = self._encode(batch.obs)
        with self.precision.autocast(), frozen(self._critic_parameters):
            mask = self._dropout_mask(len(batch))
            action = self._actor_action(self.actor, features, batch.il_action, mask)
            q = self.critic(features, action.unsqueeze(0)).squeeze(0).to(self.dtype)
        return -(q.amin(0) if self.config.actor_objective == "min" else q).mean()

    def _target_action(self, features: Features, il_action: Tensor, size: int) -> Tensor:
        """Return the target actor's noisy action `[batch, action_dim]`; dropout is on."""
        with self.precision.autocast():
            action = self._actor_action(self.target_actor, features, il_action, self._dropout_mask(size))
        noise = self.random.normal((size, self.action_dim)).mul_(self.config.exploration_std)
        noise.clamp_(-self.config.noise_clip, self.config.noise_clip)
        return (action + noise).clamp_(-1.0, 1.0)

    def _bootstrap_proposals(self, rl_action: Tensor, il_action: Tensor) -> Tensor:
        """Return what may follow, `[P, batch, action_dim]`, the RL action first; TD3 has no other."""
        return rl_action.unsqueeze(0)

    # ---- the result

    def policy(self) -> nn.Module:
        """Return the actor behind its encoder (with the policy that it corrects); modules are shared."""
        alone = self.policy_alone()
        if alone is not None:
            return alone
        assert self.bc_policy is not None
        return SinglePolicy(ResidualPolicy(self.encoder, self.actor, self.bc_policy), RL_SOURCE)

    def policy_alone(self) -> nn.Module | None:
        """Return the actor without a teacher; None for one that corrects a teacher's action."""
        actor = EncodedActor(self.encoder, self.actor)
        return None if self.config.residual else SinglePolicy(actor, RL_SOURCE)

    def gate(self) -> DeploymentGate | None:
        """None: there is no other policy to deploy."""
        return None

    # ---- shared parts

    def _actor_action(
        self, actor: Actor, features: Features, il_action: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """Return an actor's action `[N, action_dim]`; a residual one corrects the teacher's first sample."""
        if self.config.residual:
            assert il_action is not None
            action: Tensor = actor(features, il_action[:, 0], mask)
        else:
            action = actor(features, mask)
        return action.to(self.dtype)

    def _encode(self, obs: dict[str, Tensor]) -> Features:
        """Return what actor and critics read; to be called without gradients."""
        with self.precision.autocast():
            return self.encoder(obs)

    def _draw_subset(self) -> Tensor | None:
        """Return the critics of one use, `[K]`; None stands for all of them."""
        if self.config.subset_size == self.num_critics:
            return None
        return self.random.subset(self.num_critics, self.config.subset_size)

    def _target_values(
        self, features: Features, proposals: Tensor, subset: Tensor | None, rule: ProposalRule
    ) -> tuple[Tensor, Tensor]:
        """Values `[P, critics, batch]` of the target critics, and the subset as indices into them."""
        computed = subset if rule.is_paper else None
        with self.precision.autocast():
            q = self.target_critic(features, proposals, computed).to(self.dtype)
        if subset is None:
            return q, self._all_critics
        return q, self._all_critics[: subset.shape[0]] if rule.is_paper else subset

    def _dropout_mask(self, size: int) -> Tensor | None:
        """Return a fresh mask for the actor, `[size, dropout_width]`; None where the actor has no dropout."""
        if self.actor.dropout == 0.0:
            return None
        return self.random.dropout_mask(size, self.actor.dropout_width, self.actor.dropout)

    def _adam(self, parameters: Iterable[nn.Parameter], target: nn.Module) -> FlatAdam:
        """Adam for the parameters, whose last ones the target follows; all in flat storage."""
        group, followers = FlatParameters(parameters), FlatParameters(target.parameters())
        return FlatAdam(group, self.config.learning_rate, target=followers, rho=self.config.polyak)

    @staticmethod
    def _step(output: Tensor, gradient: Tensor | None, optimizer: FlatAdam) -> None:
        """One step, and the EMA of the target, down a loss that is `output` or has this gradient there."""
        optimizer.zero_grad()
        output.backward(gradient)
        optimizer.step()

    # ---- saving

    def _modules(self) -> dict[str, nn.Module]:
        """Everything with weights, by name."""
        modules = {
            "encoder": self.encoder,
            "actor": self.actor,
            "critic": self.critic,
            "target_actor": self.target_actor,
            "target_critic": self.target_critic,
        }
        return modules if self.bc_policy is None else {**modules, "bc_policy": self.bc_policy}

    def state_dict(self) -> dict[str, Any]:
        """Everything that training needs to go on bit for bit: weights, optimisers, random state."""
        return {
            "modules": {name: module.state_dict() for name, module in self._modules().items()},
            "actor_optimizer": self.actor_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "random": self.random.state_dict(),
            "counts": dict(self.counts),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from state_dict(); the networks must have the same sizes."""
        modules = self._modules()
        if state["modules"].keys() != modules.keys():
            raise ArgumentError(f"modules: expected {sorted(modules)}, got {sorted(state['modules'])}")
        for name, module in modules.items():
            module.load_state_dict(state["modules"][name])
        self.actor_optimizer.load_state_dict(state["actor_optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
        self.random.load_state_dict(state["random"])
        self.counts = {name: int(state["counts"][name]) for name in self.counts}
        self.loads += 1
