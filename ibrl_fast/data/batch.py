"""One sampled batch, ready for an agent's update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ibrl_fast.errors import ArgumentError


@dataclass
class Batch:
    """Transitions on the learner's device: n-step returns, stacked observations, shifted and scaled images.

    Attributes:
        obs: per key `[batch, stack * features]` or `[batch, stack * channels, height, width]`, newest first.
        action: `[batch, action_dim]`, in [-1, 1].
        reward: `[batch]`, the n-step sum of discounted rewards.
        discount: `[batch]`, what the bootstrapped value is multiplied by: gamma^m after m steps, 0 after a
            terminal step.
        next_obs: as `obs`, m steps later.
        il_action: `[batch, samples, action_dim]`, in [-1, 1], the imitation policy's actions at `obs`;
            `[batch, 0, action_dim]` without one.
        il_action_next: `[batch, samples, action_dim]`, its actions at `next_obs`.
        rows: `[batch]` int64, the buffer's rows that were drawn.
    """

    obs: dict[str, Tensor]
    action: Tensor
    reward: Tensor
    discount: Tensor
    next_obs: dict[str, Tensor]
    il_action: Tensor
    il_action_next: Tensor
    rows: Tensor

    def __len__(self) -> int:
        """Return the batch size."""
        return int(self.action.shape[0])

    def copy_(self, other: Batch) -> None:
        """Overwrite every tensor with that of a batch of the same shapes."""
        theirs = other.tensors()
        for name, mine in self.tensors().items():
            mine.copy_(theirs[name])

    def to(self, target: torch.dtype | torch.device | str) -> Batch:
        """Return a batch with every floating tensor in a dtype, or with every tensor on a device.

        Raises:
            ValueError: a dtype that is not floating.
        """
        if isinstance(target, torch.dtype) and not target.is_floating_point:
            raise ArgumentError(f"target: expected a floating dtype or a device, got {target}")

        def convert(value: Tensor) -> Tensor:
            if isinstance(target, torch.dtype) and not value.is_floating_point():
                return value
            return value.to(target)

        return Batch.from_tensors({name: convert(value) for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by name; those of the observations as `obs/KEY` and `next_obs/KEY`."""
        found: dict[str, Tensor] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, dict):
                found |= {f"{field.name}/{key}": entry for key, entry in value.items()}
            else:
                found[field.name] = value
        return found

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> Batch:
        """Make the batch of what `tensors` returned."""
        grouped: dict[str, Any] = {"obs": {}, "next_obs": {}}
        for name, value in tensors.items():
            field, _, key = name.partition("/")
            if key:
                grouped[field][key] = value
            else:
                grouped[field] = value
        return Batch(**grouped)
