"""Methods: learners composed of the same networks, proposals and updates (agents/methods.py lists them)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibrl_fast.lazy import lazy_names

if TYPE_CHECKING:
    from ibrl_fast.agents.bc import BCResult, train_bc
    from ibrl_fast.agents.config import (
        BatchRequest,
        BCConfig,
        IBRLConfig,
        MethodConfig,
        ProposalRule,
        TD3Config,
    )
    from ibrl_fast.agents.gate import DeploymentGate, GateConfig
    from ibrl_fast.agents.ibrl import IBRLAgent
    from ibrl_fast.agents.ibrl_rpl import IBRLRPLConfig
    from ibrl_fast.agents.learner import Action, Learner, LearnerSetup
    from ibrl_fast.agents.methods import METHODS, make_learner
    from ibrl_fast.agents.resfit import ResFiTConfig
    from ibrl_fast.agents.rft import RFTConfig
    from ibrl_fast.agents.rlpd import RLPDConfig
    from ibrl_fast.agents.rpl import RPLConfig
    from ibrl_fast.agents.td3 import TD3Agent

__all__ = [
    "METHODS",
    "Action",
    "BCConfig",
    "BCResult",
    "BatchRequest",
    "DeploymentGate",
    "GateConfig",
    "IBRLAgent",
    "IBRLConfig",
    "IBRLRPLConfig",
    "Learner",
    "LearnerSetup",
    "MethodConfig",
    "ProposalRule",
    "RFTConfig",
    "RLPDConfig",
    "RPLConfig",
    "ResFiTConfig",
    "TD3Agent",
    "TD3Config",
    "make_learner",
    "train_bc",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ibrl_fast.agents.bc": ("BCResult", "train_bc"),
        "ibrl_fast.agents.config": (
            "BCConfig",
            "BatchRequest",
            "IBRLConfig",
            "MethodConfig",
            "ProposalRule",
            "TD3Config",
        ),
        "ibrl_fast.agents.gate": ("DeploymentGate", "GateConfig"),
        "ibrl_fast.agents.ibrl": ("IBRLAgent",),
        "ibrl_fast.agents.ibrl_rpl": ("IBRLRPLConfig",),
        "ibrl_fast.agents.learner": ("Action", "Learner", "LearnerSetup"),
        "ibrl_fast.agents.methods": ("METHODS", "make_learner"),
        "ibrl_fast.agents.resfit": ("ResFiTConfig",),
        "ibrl_fast.agents.rft": ("RFTConfig",),
        "ibrl_fast.agents.rlpd": ("RLPDConfig",),
        "ibrl_fast.agents.rpl": ("RPLConfig",),
        "ibrl_fast.agents.td3": ("TD3Agent",),
    },
)
