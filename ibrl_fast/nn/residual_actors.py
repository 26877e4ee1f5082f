"""Actors that correct a base action: clip(mu(s) + scale * pi(s, mu(s))) (scale 1: paper Sec. XIV)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ibrl_fast.nn.actors import PixelActor, StateActor
from ibrl_fast.nn.bases import Actor
from ibrl_fast.nn.config import ActorConfig


class StateResidualActor(Actor):
    """An MLP on the state's features and the base action.

    Args:
        feature_dim: features of a state.
        action_dim: action components.
        config: of the MLP; its last layer starts at zero, so that the first actions are the base's.
        scale: largest correction of an action component.
    """

    def __init__(self, feature_dim: int, action_dim: int, config: ActorConfig, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = float(scale)
        self.residual = StateActor(feature_dim + action_dim, action_dim, config)
        self.action_dim = action_dim
        self.dropout = self.residual.dropout
        self.dropout_width = self.residual.dropout_width
        _zero(self.residual.mlp.output)

    def forward(self, features: Tensor, base: Tensor, dropout_mask: Tensor | None = None) -> Tensor:
        """Map features and base actions to actions `[batch, action_dim]` in [-1, 1].

        Args:
            features: `[batch, feature_dim]`.
            base: the action that is corrected, `[batch, action_dim]`.
            dropout_mask: `[batch, dropout_width]`, 0 or 1 / (1 - p); None switches dropout off.
        """
        residual = self.residual(torch.cat([features, base], dim=1), dropout_mask)
        return (base + self.scale * residual).clamp(-1.0, 1.0)


class PixelResidualActor(Actor):
    """As PixelActor, with the base action beside proprioception.

    Args:
        num_tokens: tokens of an image.
        token_dim: features of a token.
        proprio_dim: proprioception features, possibly 0.
        action_dim: action components.
        config: hidden layers, compression, dropout; the last layer starts at zero.
        scale: largest correction of an action component.
    """

    def __init__(
        self,
        num_tokens: int,
        token_dim: int,
        proprio_dim: int,
        action_dim: int,
        config: ActorConfig,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.scale = float(scale)
        self.residual = PixelActor(num_tokens, token_dim, proprio_dim + action_dim, action_dim, config)
        self.action_dim = action_dim
        self.dropout = self.residual.dropout
        self.dropout_width = self.residual.dropout_width
        _zero(self.residual.mlp.output)

    def forward(
        self, features: tuple[Tensor, Tensor], base: Tensor, dropout_mask: Tensor | None = None
    ) -> Tensor:
        """Map features and base actions to actions `[batch, action_dim]` in [-1, 1].

        Args:
            features: tokens `[batch, num_tokens, token_dim]` and proprioception `[batch, proprio_dim]`.
            base: the action that is corrected, `[batch, action_dim]`.
            dropout_mask: `[batch, dropout_width]`, 0 or 1 / (1 - p); None switches dropout off.
        """
        tokens, proprio = features
        residual = self.residual((tokens, torch.cat([proprio, base], dim=1)), dropout_mask)
        return (base + self.scale * residual).clamp(-1.0, 1.0)


def _zero(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
