"""Methods: agents composed of the same networks, proposals and updates."""

from ibrl_fast.agents.bc import BCConfig, BCResult, train_bc
from ibrl_fast.agents.config import IBRLConfig, ProposalRule, TD3Config
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
