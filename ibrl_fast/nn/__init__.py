"""Networks: encoders, actors, critics and their ensembles; no training logic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibrl_fast.lazy import lazy_names

if TYPE_CHECKING:
    from ibrl_fast.nn.actors import PixelActor, StateActor
    from ibrl_fast.nn.bases import Actor, CriticEnsemble
    from ibrl_fast.nn.build import BCPolicy, Networks, build_bc_policy, build_networks
    from ibrl_fast.nn.config import (
        ActorConfig,
        BCNetworkConfig,
        CriticConfig,
        DrQConfig,
        NetworkConfig,
        ResNet18Config,
        ViTConfig,
    )
    from ibrl_fast.nn.critics import PixelCriticEnsemble, StateCriticEnsemble
    from ibrl_fast.nn.encoders import DrQEncoder, ResNet18Encoder, ViTEncoder
    from ibrl_fast.nn.observations import ObservationScaler, PixelEncoder, StateEncoder
    from ibrl_fast.nn.policies import HybridPolicy, SinglePolicy, enable_rl
    from ibrl_fast.nn.residual_actors import PixelResidualActor, StateResidualActor

__all__ = [
    "Actor",
    "ActorConfig",
    "BCNetworkConfig",
    "BCPolicy",
    "CriticConfig",
    "CriticEnsemble",
    "DrQConfig",
    "DrQEncoder",
    "HybridPolicy",
    "NetworkConfig",
    "Networks",
    "ObservationScaler",
    "PixelActor",
    "PixelCriticEnsemble",
    "PixelEncoder",
    "PixelResidualActor",
    "ResNet18Config",
    "ResNet18Encoder",
    "SinglePolicy",
    "StateActor",
    "StateCriticEnsemble",
    "StateEncoder",
    "StateResidualActor",
    "ViTConfig",
    "ViTEncoder",
    "build_bc_policy",
    "build_networks",
    "enable_rl",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ibrl_fast.nn.actors": ("PixelActor", "StateActor"),
        "ibrl_fast.nn.bases": ("Actor", "CriticEnsemble"),
        "ibrl_fast.nn.build": ("BCPolicy", "Networks", "build_bc_policy", "build_networks"),
        "ibrl_fast.nn.config": (
            "ActorConfig",
            "BCNetworkConfig",
            "CriticConfig",
            "DrQConfig",
            "NetworkConfig",
            "ResNet18Config",
            "ViTConfig",
        ),
        "ibrl_fast.nn.critics": ("PixelCriticEnsemble", "StateCriticEnsemble"),
        "ibrl_fast.nn.encoders": ("DrQEncoder", "ResNet18Encoder", "ViTEncoder"),
        "ibrl_fast.nn.observations": ("ObservationScaler", "PixelEncoder", "StateEncoder"),
        "ibrl_fast.nn.policies": ("HybridPolicy", "SinglePolicy", "enable_rl"),
        "ibrl_fast.nn.residual_actors": ("PixelResidualActor", "StateResidualActor"),
    },
)
