"""Every random number of an agent comes from here: a run is a function of its seed and can be resumed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ibrl_fast.errors import ArgumentError


class RandomSource:
    """Noise, dropout masks and critic subsets from one generator, and the counter of the ops' own generator.

    Args:
        seed: of everything drawn here.
        device: where the numbers are drawn.
        dtype: of the floating numbers.
    """

    def __init__(self, seed: int, device: torch.device, dtype: torch.dtype) -> None:
        if not 0 <= seed < 2**63:
            raise ArgumentError(f"seed: expected 0 <= seed < 2**63, got {seed}")
        self.seed = seed
        self.device = device
        self.dtype = dtype
        self.generator = torch.Generator(device=device)
        self.generator.manual_seed(seed)
        self.counter = torch.zeros(1, dtype=torch.int64, device=device)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Return standard normal numbers of a shape."""
        return torch.randn(shape, generator=self.generator, device=self.device, dtype=self.dtype)

    def dropout_mask(self, batch: int, width: int, dropout: float) -> Tensor:
        """Masks `[batch, width]`: 0 with probability `dropout`, else 1 / (1 - dropout)."""
        # 8 random bits an entry where they give the probability exactly (0.5, 0.25), else 16
        bits, dtype = (8, torch.int8) if (dropout * 256).is_integer() else (16, torch.int16)
        words = torch.empty(-(-batch * width * bits // 64), dtype=torch.int64, device=self.device)
        words.random_(-(2**63), None, generator=self.generator)
        keys = words.view(dtype)[: batch * width].view(batch, width)
        # compared as floating numbers, which hold the keys exactly: PyTorch compares integers one by one
        kept = keys.to(self.dtype).ge_(round(dropout * 2**bits) - 2 ** (bits - 1))
        return kept.mul_(1.0 / (1.0 - dropout))

    def subset(self, num_critics: int, size: int) -> Tensor:
        """`size` different critics out of `num_critics`, `[size]` int64, without touching the host."""
        keys = torch.rand(num_critics, generator=self.generator, device=self.device)
        return keys.topk(size).indices

    def advance(self) -> None:
        """Move on the counter that the ops read; call after each op that draws."""
        self.counter.add_(1)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the generator and the counter."""
        return {"generator": self.generator.get_state(), "counter": self.counter.clone(), "seed": self.seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where state_dict was taken."""
        self.generator.set_state(state["generator"].cpu())
        self.counter.copy_(state["counter"])
        self.seed = int(state["seed"])
