"""Methods: agents composed of the same networks, proposals and updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibrl_fast.lazy import lazy_names

if TYPE_CHECKING:
    from ibrl_fast.agents.bc import BCResult, train_bc
    from ibrl_fast.agents.config import BCConfig, IBRLConfig, ProposalRule, TD3Config
    from ibrl_fast.agents.ibrl import IBRLAgent
    from ibrl_fast.agents.td3 import Action, TD3Agent

__all__ = [
    "Action",
    "BCConfig",
    "BCResult",
    "IBRLAgent",
    "IBRLConfig",
    "ProposalRule",
    "TD3Agent",
    "TD3Config",
    "train_bc",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ibrl_fast.agents.bc": ("BCResult", "train_bc"),
        "ibrl_fast.agents.config": ("BCConfig", "IBRLConfig", "ProposalRule", "TD3Config"),
        "ibrl_fast.agents.ibrl": ("IBRLAgent",),
        "ibrl_fast.agents.td3": ("Action", "TD3Agent"),
    },
)
