"""One sampled batch, ready for an agent's update."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


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
        il_action: `[batch, samples, action_dim]`, the imitation policy's proposals at `obs`.
        il_action_next: `[batch, samples, action_dim]`, the same at `next_obs`.
        rows: `[batch]` int64, the buffer rows drawn.
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
        """The batch size."""
        return int(self.action.shape[0])

    def copy_(self, other: Batch) -> None:
        """Overwrites every tensor with that of a batch of the same shapes."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if isinstance(mine, dict):
                for key, value in mine.items():
                    value.copy_(theirs[key])
            else:
                mine.copy_(theirs)

    def to(self, target: torch.dtype | torch.device | str, *, non_blocking: bool = False) -> Batch:
        """A copy with every floating tensor in a dtype, or with every tensor on a device."""
        if isinstance(target, torch.dtype) and not target.is_floating_point:
            raise ValueError(f"target: expected a floating dtype or a device, got {target}")

        def convert(value: Tensor) -> Tensor:
            if isinstance(target, torch.dtype) and not value.is_floating_point():
                return value
            return value.to(target, non_blocking=non_blocking)

        converted: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            converted[field.name] = (
                {key: convert(entry) for key, entry in value.items()}
                if isinstance(value, dict)
                else convert(value)
            )
        return Batch(**converted)
