"""The learner of RFT (rft.py). Its actor's loss is

    -E_{s ~ buffer} Q(s, pi(s)) + alpha * lambda * E_{(s, a) ~ demos} |a - pi(s)|^2,
    lambda = E_{s ~ demos} [ Q(s, pi_0(s)) > Q(s, pi(s)) ],

pi_0 the actor as it was pretrained (paper, appendix on baselines).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ibrl_fast.agents.input_checks import check_batch
from ibrl_fast.agents.learner import Metrics, Phase, no_phase
from ibrl_fast.agents.precision import in_precision
from ibrl_fast.agents.rft import RFTConfig
from ibrl_fast.agents.td3 import TD3Agent
from ibrl_fast.data import Batch
from ibrl_fast.errors import ArgumentError, expect


class RFTAgent(TD3Agent):
    """Regularised fine-tuning; arguments as TD3Agent's.

    Raises:
        ArgumentError: an imitation policy of other networks.
    """

    config: RFTConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert self.bc_policy is not None
        copy_weights(self.bc_policy, {"encoder": self.encoder, "actor": self.actor})
        self.target_actor.load_state_dict(self.actor.state_dict())

    def update(self, batches: Sequence[Batch], phase: Phase = no_phase) -> list[Metrics]:
        """One round; the last batch is of demonstrations, for the imitation loss alone."""
        metrics = self.warm_up(batches, phase)
        with phase("actor"):
            metrics.append(self.update_regularized_actor(batches[-2], batches[-1]))
        return metrics

    def warm_up(self, batches: Sequence[Batch], phase: Phase = no_phase) -> list[Metrics]:
        """Update the critics on all batches but the last."""
        return super().warm_up(batches[:-1], phase)

    @in_precision
    def update_regularized_actor(self, batch: Batch, demos: Batch) -> Metrics:
        """One step of the actor on its value and on the demonstrations, and its EMA.

        Returns:
            Scalars on the device: actor_loss (whole), bc_loss (before its weight), bc_weight (lambda).
        """
        check_batch(demos, self.shapes, self.action_dim, self.num_il_samples)
        rl_loss = self._actor_loss(batch)
        bc_loss, share = self._imitation(demos)
        loss = rl_loss + self.config.bc_weight * share * bc_loss
        self._step(loss, None, self.actor_optimizer)
        self.counts["actor_updates"] += 1
        return {"actor_loss": loss.detach(), "bc_loss": bc_loss.detach(), "bc_weight": share}

    def _imitation(self, demos: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean squared distance to the demonstrated actions, and lambda; both scalars."""
        with torch.no_grad():
            features = self._encode(demos.obs)
        with self.precision.autocast():
            mask = self._dropout_mask(len(demos))
            action = self._actor_action(self.actor, features, None, mask)
        distance = (action - demos.action).square().sum(1).mean()

        # the policies are compared as they act: without dropout, one sample at a time
        with torch.no_grad(), self.precision.autocast():
            acting = action if mask is None else self._actor_action(self.actor, features, None, None)
            proposals = torch.stack([acting.to(self.dtype), demos.il_action[:, 0]])
            now, before = self.critic(features, proposals).to(self.dtype).amin(1)
        return distance, (before > now).to(self.dtype).mean()


def copy_weights(teacher: nn.Module, parts: dict[str, nn.Module]) -> None:
    """Copy the weights of a teacher's parts, whatever wraps it.

    Raises:
        ArgumentError: it has other parts, or some of other sizes.
    """
    inner = teacher
    while isinstance(wrapped := getattr(inner, "policy", None), nn.Module):
        inner = wrapped
    children = dict(inner.named_children())
    try:
        expect(children.keys() == parts.keys(), "parts", ", ".join(parts), ", ".join(children))
        for name, part in parts.items():
            part.load_state_dict(children[name].state_dict())
    except (ArgumentError, RuntimeError) as error:
        words = " ".join(str(error).split())
        raise ArgumentError(
            f"teacher: expected an imitation policy with the RL agent's {' and '.join(parts)}, "
            f"got {type(teacher).__name__} ({words})"
        ) from error
