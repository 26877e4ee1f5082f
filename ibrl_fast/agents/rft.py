"""RFT: an actor pretrained on the demonstrations, then kept near them while its critics are poor.

Regularised fine-tuning as the paper runs it (Sec. V-B and the appendix on baselines; the soft Q-filter is
that of ROT, Haldar et al. 2022); rft_agent.py has the equations. The TD3 of Algorithm 1 without proposals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ibrl_fast.agents.config import BatchRequest, TD3Config
from ibrl_fast.errors import expect


@dataclass(frozen=True)
class RFTConfig(TD3Config):
    """TD3 whose actor and encoder start as the imitation policy's and keep part of its loss.

    Attributes:
        bc_weight: alpha, the weight of the imitation loss before the Q-filter scales it down.
    """

    method: ClassVar[str] = "rft"
    learner: ClassVar[str] = "ibrl_fast.agents.rft_agent:RFTAgent"
    needs_teacher: ClassVar[bool] = True
    starts_from_teacher: ClassVar[bool] = True
    warmup: ClassVar[Literal["teacher", "random"]] = "teacher"

    bc_weight: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(self.bc_weight >= 0, "bc_weight", "at least 0", self.bc_weight)

    def batches(self, batch_size: int, critic_updates: int) -> list[BatchRequest]:
        """Those of the critics, and one of demonstrations for the imitation loss."""
        return [*super().batches(batch_size, critic_updates), BatchRequest(batch_size, 1.0)]
