"""Imitation bootstrapped reinforcement learning (IBRL) with fused CPU and CUDA operations.

The short public list. Each name is imported when it is first used, so that a part
(`ibrl_fast.ops`, or an exported policy on a robot) needs only its own dependencies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibrl_fast.lazy import lazy_names

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ibrl_fast.agents import (
        BCConfig,
        GateConfig,
        IBRLConfig,
        IBRLRPLConfig,
        ProposalRule,
        ResFiTConfig,
        RFTConfig,
        RLPDConfig,
        RPLConfig,
        TD3Config,
    )
    from ibrl_fast.data import BufferPlan, ReplayBuffer, read_demonstrations, write_demonstrations
    from ibrl_fast.deploy import load_policy
    from ibrl_fast.envs import list_tasks, make_pool, register_env
    from ibrl_fast.nn import ActorConfig, BCNetworkConfig, CriticConfig, NetworkConfig
    from ibrl_fast.training import presets
    from ibrl_fast.training.collect_demos import collect_demonstrations
    from ibrl_fast.training.config import (
        EnvConfig,
        EvaluationConfig,
        ImitationConfig,
        ReplayConfig,
        TrainConfig,
        TrainEvaluationConfig,
    )
    from ibrl_fast.training.demo_config import DemoConfig
    from ibrl_fast.training.group.outcome import GroupResult, RunOutcome
    from ibrl_fast.training.group.train_group import resume_group, train_group, train_seeds
    from ibrl_fast.training.imitation_trainer import ImitationTrainer
    from ibrl_fast.training.presets import preset
    from ibrl_fast.training.records.result import TrainResult
    from ibrl_fast.training.trainer import Trainer

__all__ = [
    "ActorConfig",
    "BCConfig",
    "BCNetworkConfig",
    "BufferPlan",
    "CriticConfig",
    "DemoConfig",
    "EnvConfig",
    "EvaluationConfig",
    "GateConfig",
    "GroupResult",
    "IBRLConfig",
    "IBRLRPLConfig",
    "ImitationConfig",
    "ImitationTrainer",
    "NetworkConfig",
    "ProposalRule",
    "RFTConfig",
    "RLPDConfig",
    "RPLConfig",
    "ReplayBuffer",
    "ReplayConfig",
    "ResFiTConfig",
    "RunOutcome",
    "TD3Config",
    "TrainConfig",
    "TrainEvaluationConfig",
    "TrainResult",
    "Trainer",
    "__version__",
    "collect_demonstrations",
    "list_tasks",
    "load_policy",
    "make_pool",
    "preset",
    "presets",
    "read_demonstrations",
    "register_env",
    "resume_group",
    "train_group",
    "train_seeds",
    "write_demonstrations",
]

# Where each public name lives
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ibrl_fast.training": ("presets",),
        "ibrl_fast.agents": (
            "BCConfig",
            "GateConfig",
            "IBRLConfig",
            "IBRLRPLConfig",
            "ProposalRule",
            "RFTConfig",
            "RLPDConfig",
            "RPLConfig",
            "ResFiTConfig",
            "TD3Config",
        ),
        "ibrl_fast.data": ("BufferPlan", "ReplayBuffer", "read_demonstrations", "write_demonstrations"),
        "ibrl_fast.deploy": ("load_policy",),
        "ibrl_fast.envs": ("list_tasks", "make_pool", "register_env"),
        "ibrl_fast.training.collect_demos": ("collect_demonstrations",),
        "ibrl_fast.nn": ("ActorConfig", "BCNetworkConfig", "CriticConfig", "NetworkConfig"),
        "ibrl_fast.training.config": (
            "EnvConfig",
            "EvaluationConfig",
            "ImitationConfig",
            "ReplayConfig",
            "TrainConfig",
            "TrainEvaluationConfig",
        ),
        "ibrl_fast.training.demo_config": ("DemoConfig",),
        "ibrl_fast.training.group.outcome": ("GroupResult", "RunOutcome"),
        "ibrl_fast.training.group.train_group": ("resume_group", "train_group", "train_seeds"),
        "ibrl_fast.training.imitation_trainer": ("ImitationTrainer",),
        "ibrl_fast.training.presets": ("preset",),
        "ibrl_fast.training.records.result": ("TrainResult",),
        "ibrl_fast.training.trainer": ("Trainer",),
    },
)
