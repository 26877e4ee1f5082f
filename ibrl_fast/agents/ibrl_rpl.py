"""IBRL-RPL: IBRL whose RL proposal is a residual on the imitation action (paper Sec. XIV, Fig. 15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ibrl_fast.agents.config import IBRLConfig


@dataclass(frozen=True)
class IBRLRPLConfig(IBRLConfig):
    """IBRL with the residual actor of RPL; the imitation action itself stays a proposal."""

    method: ClassVar[str] = "ibrl_rpl"
    residual: ClassVar[bool] = True
