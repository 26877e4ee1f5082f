"""What imitation and the methods of reinforcement learning do: frozen, validated, plain values.

The type of a configuration is its method (agents/methods.py lists them). Nothing here imports torch, so that
command lines and presets are quick.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, get_args

from ibrl_fast.agents.gate import GateConfig
from ibrl_fast.errors import ArgumentError, expect
from ibrl_fast.fields import check_fields

PrecisionName = Literal["fp32", "tf32", "bf16"]


def check_precision(name: str) -> None:
    """Refuses what is no precision.

    Raises:
        ValueError: naming the choices.
    """
    if name not in get_args(PrecisionName):
        raise ArgumentError(f"precision: expected fp32, tf32 or bf16, got {name}")


@dataclass(frozen=True)
class ProposalRule:
    """How proposals are scored before the argmax or the softmax draw; the default is the paper's.

    Attributes:
        kind: `min`: the minimum over a random subset (paper). `lcb`: mean over all critics, for the
            RL proposal minus std_factor standard deviations. `paired`: as `lcb`, but the deviation is that of
            the difference to the best IL proposal, critic by critic: an error that both share does not count.
        std_factor: how much evidence the RL proposal needs, in standard deviations over the ensemble.
        margin: by how much (in units of return) the RL proposal has to exceed the IL proposals.
    """

    kind: Literal["min", "lcb", "paired"] = "min"
    std_factor: float = 1.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not (math.isfinite(self.std_factor) and self.std_factor >= 0):
            raise ArgumentError(f"std_factor: expected >= 0, got {self.std_factor}")
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ArgumentError(f"margin: expected >= 0, got {self.margin}")

    @property
    def is_paper(self) -> bool:
        """Whether this is the rule of Algorithm 1."""
        return self.kind == "min" and self.margin == 0.0


class BatchRequest(NamedTuple):
    """One batch that an update round wants.

    Attributes:
        size: transitions.
        demo_fraction: share of them from the demonstrations; None draws from all transitions alike.
    """

    size: int
    demo_fraction: float | None = None


@dataclass(frozen=True)
class MethodConfig:
    """What the training loop must know of a method before its learner exists.

    Attributes:
        method: its name.
        learner: where its class is, `module:Class`; imported when a learner is made.
        needs_teacher: an imitation policy is fitted to the demonstrations first and handed to the learner.
        warmup: who acts in the warm-up episodes: the teacher, or uniformly random actions.
        starts_from_teacher: the teacher has the RL agent's encoder and actor, which start as copies of its.
        precision: of matrix products and convolutions (tf32: on CUDA); weights, losses and optimiser stay in
            full precision.
    """

    method: ClassVar[str]
    learner: ClassVar[str]
    needs_teacher: ClassVar[bool] = False
    warmup: ClassVar[Literal["teacher", "random"]] = "random"
    starts_from_teacher: ClassVar[bool] = False

    precision: PrecisionName = "fp32"

    @property
    def separate_warmup(self) -> bool:
        """Whether the rounds that the warm-up owes are the learner's `warm_up` instead of its `update`."""
        return False

    def batches(self, batch_size: int, critic_updates: int) -> list[BatchRequest]:
        """Return the batches of one update round, in the order in which the learner wants them."""
        return [BatchRequest(batch_size)] * critic_updates

    def check_schedule(self, warmup_episodes: int) -> None:
        """Refuse a run's schedule that the method cannot work with.

        Raises:
            ArgumentError: naming the option.
        """


@dataclass(frozen=True)
class TD3Config(MethodConfig):
    """TD3 with an ensemble of critics, as Algorithm 1 uses it; gamma and nstep belong to the replay buffer.

    Attributes:
        residual: the actor corrects the teacher's action (residual policy learning).
        learning_rate: Adam's learning rate for actor, critics and encoder.
        exploration_std: sigma, of the noise on the RL action when acting and in the target, in action units.
        noise_clip: c, bound of the target's noise.
        polyak: rho, target = rho * target + (1 - rho) * online.
        subset_size: K, critics whose minimum values an action (RED-Q); drawn afresh for every use.
        actor_objective: what the actor maximises: the minimum (paper) or the mean over all critics.
        demo_fraction: share of every batch from the demonstrations; None draws from all transitions alike.
        warmup_actor: whether the update rounds before the first RL action train the actor too; else the
            critics alone.
    """

    method: ClassVar[str] = "td3"
    learner: ClassVar[str] = "ibrl_fast.agents.td3:TD3Agent"
    residual: ClassVar[bool] = False

    learning_rate: float = 1e-4
    exploration_std: float = 0.1
    noise_clip: float = 0.3
    polyak: float = 0.99
    subset_size: int = 2
    actor_objective: Literal["min", "mean"] = "min"
    demo_fraction: float | None = None
    warmup_actor: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.learning_rate > 0:
            raise ArgumentError(f"learning_rate: expected > 0, got {self.learning_rate}")
        if not self.exploration_std >= 0:
            raise ArgumentError(f"exploration_std: expected >= 0, got {self.exploration_std}")
        if not self.noise_clip >= 0:
            raise ArgumentError(f"noise_clip: expected >= 0, got {self.noise_clip}")
        if not 0 <= self.polyak < 1:
            raise ArgumentError(f"polyak: expected in [0, 1), got {self.polyak}")
        if self.subset_size < 1:
            raise ArgumentError(f"subset_size: expected >= 1, got {self.subset_size}")
        share = self.demo_fraction
        expect(share is None or 0 <= share <= 1, "demo_fraction", "in [0, 1] or None", share)

    @property
    def residual_scale(self) -> float | None:
        """Largest correction of an action component; None where the actor acts by itself."""
        return 1.0 if self.residual else None

    @property
    def separate_warmup(self) -> bool:
        """Whether the warm-up's rounds leave the actor out."""
        return not self.warmup_actor

    def batches(self, batch_size: int, critic_updates: int) -> list[BatchRequest]:
        """One batch for every update of the critics; the actor learns from the last of them."""
        return [BatchRequest(batch_size, self.demo_fraction)] * critic_updates


@dataclass(frozen=True)
class IBRLConfig(TD3Config):
    """TD3 with proposals of a frozen imitation policy.

    Attributes:
        beta: inverse temperature of Soft-IBRL; None takes the better proposal.
        actor_proposal: whether the imitation policy proposes when acting.
        bootstrap_proposal: whether it proposes in the target.
        acting_rule: how proposals are scored when acting.
        bootstrap_rule: how they are scored in the target; the chosen one is valued by the subset's minimum.
        gate: the evaluated and exported policy stays the imitation policy until training episodes show that
            the hybrid policy is no worse; needs warm-up episodes. None (the paper): always hybrid.
    """

    method: ClassVar[str] = "ibrl"
    learner: ClassVar[str] = "ibrl_fast.agents.ibrl:IBRLAgent"
    needs_teacher: ClassVar[bool] = True
    warmup: ClassVar[Literal["teacher", "random"]] = "teacher"

    beta: float | None = None
    actor_proposal: bool = True
    bootstrap_proposal: bool = True
    acting_rule: ProposalRule = field(default_factory=ProposalRule)
    bootstrap_rule: ProposalRule = field(default_factory=ProposalRule)
    gate: GateConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta is not None and not (math.isfinite(self.beta) and self.beta >= 0):
            raise ArgumentError(f"beta: expected >= 0 or None, got {self.beta}")
        # the deployed policy can only switch between two proposals
        expect(self.gate is None or self.actor_proposal, "gate", "None without actor_proposal", self.gate)

    def check_schedule(self, warmup_episodes: int) -> None:
        """Refuse a gate without the episodes that it compares with."""
        enough = self.gate is None or warmup_episodes > 0
        expect(enough, "warmup_episodes", "at least 1 with a gate", warmup_episodes)


@dataclass(frozen=True)
class BCConfig:
    """Training of an imitation policy.

    Attributes:
        updates: optimiser steps.
        batch_size: transitions per step.
        learning_rate: Adam's.
        random_shift_pad: largest shift of the images in pixels; 0 turns the augmentation off.
        evaluate_every: steps between success evaluations, whose best is kept; 0 keeps the last weights.
        precision: of matrix products and convolutions (tf32: on CUDA); weights and optimiser stay in full
            precision.
    """

    updates: int = 20_000
    batch_size: int = 256
    learning_rate: float = 1e-4
    random_shift_pad: int = 4
    evaluate_every: int = 0
    precision: PrecisionName = "fp32"

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("updates", "batch_size"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name}: expected >= 1, got {getattr(self, name)}")
        for name in ("random_shift_pad", "evaluate_every"):
            if getattr(self, name) < 0:
                raise ArgumentError(f"{name}: expected >= 0, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ArgumentError(f"learning_rate: expected > 0, got {self.learning_rate}")
