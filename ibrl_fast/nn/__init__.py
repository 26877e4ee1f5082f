"""Networks: encoders, actors, critics and their ensembles; no training logic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibrl_fast.lazy import lazy_names

if TYPE_CHECKING:
    from ibrl_fast.nn.actors import PixelActor, StateActor
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

__all__ = [
    "ActorConfig",
    "BCNetworkConfig",
    "BCPolicy",
    "CriticConfig",
    "DrQConfig",
    "DrQEncoder",
    "NetworkConfig",
    "Networks",
    "ObservationScaler",
    "PixelActor",
    "PixelCriticEnsemble",
    "PixelEncoder",
    "ResNet18Config",
    "ResNet18Encoder",
    "StateActor",
    "StateCriticEnsemble",
    "StateEncoder",
    "ViTConfig",
    "ViTEncoder",
    "build_bc_policy",
    "build_networks",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ibrl_fast.nn.actors": ("PixelActor", "StateActor"),
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
    },
)
