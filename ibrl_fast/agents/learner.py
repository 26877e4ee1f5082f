"""What the training loop asks of a method: the contract between a run and its learner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ibrl_fast.agents.config import MethodConfig
from ibrl_fast.agents.gate import DeploymentGate
from ibrl_fast.agents.random_source import RandomSource
from ibrl_fast.data import Batch
from ibrl_fast.nn import NetworkConfig, ObservationScaler

# a scalar per name on the device: what one optimiser step reports
Metrics = dict[str, Tensor]
# wraps a named phase of an update round, for example in a timer
Phase = Callable[[str], AbstractContextManager[None]]


def no_phase(name: str) -> AbstractContextManager[None]:
    """Do nothing around a phase."""
    return nullcontext()


@dataclass
class Action:
    """What a learner does in N environments, and why.

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


@dataclass(frozen=True)
class LearnerSetup:
    """What a learner is made from, beside its method's configuration.

    Attributes:
        network: sizes of the networks; torch's global generator draws their first weights.
        shapes: per observation `(features,)` or `(channels, height, width)`, after stacking.
        action_dim: action components.
        seed: of every random number that the learner draws.
        teacher: the fitted imitation policy, obs dict to action `[N, action_dim]` or samples
            `[N, S, action_dim]` (its attribute `num_samples` then says S); None for a method without one.
        scalers: fixed transforms of some of the vector observations.
        device: where the networks live.
    """

    network: NetworkConfig
    shapes: Mapping[str, tuple[int, ...]]
    action_dim: int
    seed: int
    teacher: nn.Module | None = None
    scalers: Mapping[str, ObservationScaler] = field(default_factory=dict)
    device: torch.device | str = "cpu"


class Learner(Protocol):
    """A method at work: acts, proposes, learns from batches, and hands out the policy that results.

    `act`, `propose` and `update` are tensor code alone: no value is read back from the device and the work is
    the same every time, so that a run can record them as CUDA graphs (training/graph_capture.py). Without,
    `act` and `propose` run in inference mode: a tensor that they keep is no input of an update.

    Attributes:
        config: the method's; says what the loop must know (MethodConfig).
        device: where observations and batches are expected.
        random: every random number drawn.
        bc_policy: the teacher, frozen; None for a method without one.
        num_il_samples: S, proposals of the teacher that are stored with every state; 0 stores none.
        counts: optimiser steps so far, by name; the host's own, which a replayed graph does not move.
        loads: how often load_state_dict was called: tensors that a recorded graph knows may be others since.
    """

    config: MethodConfig
    device: torch.device
    random: RandomSource
    bc_policy: nn.Module | None
    num_il_samples: int
    counts: dict[str, int]
    loads: int

    @classmethod
    def from_setup(cls, config: Any, setup: LearnerSetup) -> Learner:
        """Make an untrained learner.

        Args:
            config: of the method's own type.
            setup: what it is made from.

        Raises:
            ArgumentError: a configuration that does not fit the networks, or a teacher too many or too few.
        """

    def propose(self, obs: dict[str, Tensor]) -> Tensor | None:
        """Return the teacher's actions `[N, S, action_dim]`, stored with the states; None where S is 0."""

    def act(self, obs: dict[str, Tensor], explore: bool, il_action: Tensor | None = None) -> Action:
        """Choose actions for N environments; `il_action` is what propose says of obs, where it is known."""

    def update(self, batches: Sequence[Batch], phase: Phase = no_phase) -> list[Metrics]:
        """One update round on the batches that `config.batches` asks for.

        Returns:
            The metrics of each optimiser step; the loop averages those of one name.
        """

    def warm_up(self, batches: Sequence[Batch], phase: Phase = no_phase) -> list[Metrics]:
        """As update, for the rounds before the first RL action; called where `config.separate_warmup`."""

    def policy(self) -> nn.Module:
        """Return the result of training, a scriptable module (nn/policies.py) that follows training."""

    def policy_alone(self) -> nn.Module | None:
        """As policy, without the teacher; None where it cannot act without."""

    def gate(self) -> DeploymentGate | None:
        """Return a new gate that decides whether RL may act in `policy`; None: it always may."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that training needs to go on bit for bit."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from state_dict(); the configuration must be the same."""
