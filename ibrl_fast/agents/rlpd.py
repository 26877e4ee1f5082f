"""RLPD: a fixed share of every batch comes from the demonstrations (Ball et al. 2023; paper Sec. V-B).

As the paper runs it: the TD3 of Algorithm 1 without proposals, the same networks and augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ibrl_fast.agents.config import BatchRequest, TD3Config
from ibrl_fast.errors import expect


@dataclass(frozen=True)
class RLPDConfig(TD3Config):
    """TD3 on batches of which half, by default, are demonstrations.

    Attributes:
        demo_fraction: share of every batch from the demonstrations.
    """

    method: ClassVar[str] = "rlpd"

    demo_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(0 <= self.demo_fraction <= 1, "demo_fraction", "in [0, 1]", self.demo_fraction)

    def batches(self, batch_size: int, critic_updates: int) -> list[BatchRequest]:
        """Every batch mixed; the actor learns from the last of them."""
        return [BatchRequest(batch_size, self.demo_fraction)] * critic_updates
