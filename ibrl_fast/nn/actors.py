"""Deterministic policies: features to an action in [-1, 1]."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibrl_fast.nn.bases import Actor
from ibrl_fast.nn.config import ActorConfig
from ibrl_fast.nn.layers import MLP, Linear, orthogonal_


class StateActor(Actor):
    """An MLP with tanh (paper Fig. 20).

    Args:
        feature_dim: features of a state.
        action_dim: action components.
        config: hidden layers; compress_dim is not used.
    """

    def __init__(self, feature_dim: int, action_dim: int, config: ActorConfig) -> None:
        super().__init__()
        self.action_dim = action_dim
        self.dropout = config.dropout
        self.dropout_width = sum(config.hidden)
        self.mlp = MLP(feature_dim, config.hidden, action_dim, layer_norm=config.layer_norm, tanh=True)

    def forward(self, features: Tensor, dropout_mask: Tensor | None = None) -> Tensor:
        """Map `features` `[batch, feature_dim]` to actions `[batch, action_dim]`.

        Args:
            features: the encoded observations.
            dropout_mask: `[batch, dropout_width]`, 0 or 1 / (1 - p); None switches dropout off.
        """
        return self.mlp(features, dropout_mask)


class PixelActor(Actor):
    """A compression of the flattened tokens, beside proprioception, then an MLP with tanh (paper Fig. 19).

    Args:
        num_tokens: tokens of an image.
        token_dim: features of a token.
        proprio_dim: proprioception features, possibly 0.
        action_dim: action components.
        config: hidden layers, compression, dropout.
    """

    def __init__(
        self, num_tokens: int, token_dim: int, proprio_dim: int, action_dim: int, config: ActorConfig
    ) -> None:
        super().__init__()
        self.action_dim = action_dim
        self.dropout = config.dropout
        self.compress_dim = config.compress_dim or 0
        self.dropout_width = self.compress_dim + sum(config.hidden)
        flat_dim = num_tokens * token_dim
        compress: nn.Module = nn.Identity()
        if config.compress_dim is not None:
            compress = nn.Sequential(Linear(flat_dim, config.compress_dim), nn.LayerNorm(config.compress_dim))
        self.compress = compress
        self.mlp = MLP(
            (config.compress_dim or flat_dim) + proprio_dim,
            config.hidden,
            action_dim,
            layer_norm=config.layer_norm,
            tanh=True,
        )
        orthogonal_(self.compress)
        orthogonal_(self.mlp, last_gain=0.01)

    def forward(self, features: tuple[Tensor, Tensor], dropout_mask: Tensor | None = None) -> Tensor:
        """Map features to actions `[batch, action_dim]`.

        Args:
            features: tokens `[batch, num_tokens, token_dim]` and proprioception `[batch, proprio_dim]`.
            dropout_mask: `[batch, dropout_width]`, 0 or 1 / (1 - p); None switches dropout off.
        """
        tokens, proprio = features
        hidden = self.compress(tokens.flatten(1))
        if self.compress_dim > 0:
            if dropout_mask is not None:
                hidden = hidden * dropout_mask[:, : self.compress_dim]
                dropout_mask = dropout_mask[:, self.compress_dim :]
            hidden = F.relu(hidden)
        return self.mlp(torch.cat([hidden, proprio], dim=1), dropout_mask)
