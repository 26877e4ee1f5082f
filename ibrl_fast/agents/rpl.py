"""Residual policy learning: a = mu(s) + pi(s, mu(s)), mu frozen (Silver et al. 2018; paper Sec. XIV).

The residual actor's last layer starts at zero, so that the first actions are the imitation policy's, which
also acts alone in the warm-up. Everything else is the TD3 of Algorithm 1 without a choice of proposals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ibrl_fast.agents.config import TD3Config


@dataclass(frozen=True)
class RPLConfig(TD3Config):
    """TD3 whose actor corrects the imitation policy's action."""

    method: ClassVar[str] = "rpl"
    needs_teacher: ClassVar[bool] = True
    warmup: ClassVar[Literal["teacher", "random"]] = "teacher"
    residual: ClassVar[bool] = True
