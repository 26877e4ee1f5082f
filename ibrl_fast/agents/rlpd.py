"""RLPD: a fixed share of every batch comes from the demonstrations (Ball et al. 2023; paper Sec. V-B).

As the paper runs it: the TD3 of Algorithm 1 without proposals, the same networks and augmentation. RLPD's own
ten critics with LayerNorm and many updates a step are `--network.critic.num-critics 10 --critic-updates 10`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ibrl_fast.agents.config import TD3Config


@dataclass(frozen=True)
class RLPDConfig(TD3Config):
    """TD3 on batches of which half, by default, are demonstrations.

    Attributes:
        demo_fraction: share of every batch from the demonstrations.
    """

    method: ClassVar[str] = "rlpd"

    demo_fraction: float | None = 0.5
