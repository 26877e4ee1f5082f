"""Imitation bootstrapped reinforcement learning (IBRL) with fused CPU and CUDA operations.

The short public list. Each name is imported when it is first used, so that a part
(`ibrl_fast.ops`, or an exported policy on a robot) needs only its own dependencies.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ibrl_fast.agents import BCConfig, IBRLConfig, ProposalRule, TD3Config
    from ibrl_fast.data import ReplayBuffer, read_demonstrations, write_demonstrations
    from ibrl_fast.deploy import load_policy
    from ibrl_fast.envs import make_pool
    from ibrl_fast.envs.collect_demos import collect_demonstrations
    from ibrl_fast.nn import ActorConfig, BCNetworkConfig, CriticConfig, NetworkConfig
    from ibrl_fast.training import presets
    from ibrl_fast.training.config import DemoConfig, EnvConfig, EvaluationConfig, ReplayConfig, TrainConfig
    from ibrl_fast.training.presets import preset
    from ibrl_fast.training.result import TrainResult
    from ibrl_fast.training.trainer import Trainer

# Where each public name lives
_HOME = {
    "ibrl_fast.agents": ("BCConfig", "IBRLConfig", "ProposalRule", "TD3Config"),
    "ibrl_fast.data": ("ReplayBuffer", "read_demonstrations", "write_demonstrations"),
    "ibrl_fast.deploy": ("load_policy",),
    "ibrl_fast.envs": ("make_pool",),
    "ibrl_fast.envs.collect_demos": ("collect_demonstrations",),
    "ibrl_fast.nn": ("ActorConfig", "BCNetworkConfig", "CriticConfig", "NetworkConfig"),
    "ibrl_fast.training.config": (
        "DemoConfig",
        "EnvConfig",
        "EvaluationConfig",
        "ReplayConfig",
        "TrainConfig",
    ),
    "ibrl_fast.training.presets": ("preset",),
    "ibrl_fast.training.result": ("TrainResult",),
    "ibrl_fast.training.trainer": ("Trainer",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "ActorConfig",
    "BCConfig",
    "BCNetworkConfig",
    "CriticConfig",
    "DemoConfig",
    "EnvConfig",
    "EvaluationConfig",
    "IBRLConfig",
    "NetworkConfig",
    "ProposalRule",
    "ReplayBuffer",
    "ReplayConfig",
    "TD3Config",
    "TrainConfig",
    "TrainResult",
    "Trainer",
    "__version__",
    "collect_demonstrations",
    "load_policy",
    "make_pool",
    "preset",
    "presets",
    "read_demonstrations",
    "write_demonstrations",
]


def __getattr__(name: str) -> Any:
    if name == "presets":
        return importlib.import_module("ibrl_fast.training.presets")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
