"""Ensembles of critics, each with its own weights, evaluated for several proposed actions at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ibrl_fast.nn.bases import CriticEnsemble
from ibrl_fast.nn.config import CriticConfig
from ibrl_fast.nn.layers import EnsembleLayerNorm, EnsembleLinear, EnsembleMLP, orthogonal_, pick
from ibrl_fast.nn.reduce_tokens import (
    prefers_reduce_tokens,
    reduce_tokens,
    reduce_tokens_reference,
)


class StateCriticEnsemble(CriticEnsemble):
    """An MLP per critic on state and action, in one batched pass (paper Fig. 20).

    Args:
        feature_dim: features of a state.
        action_dim: action components.
        config: ensemble size and hidden layers; head and embed_dim are not used.
    """

    def __init__(self, feature_dim: int, action_dim: int, config: CriticConfig) -> None:
        super().__init__()
        self.num_critics = config.num_critics
        self.mlp = EnsembleMLP(
            config.num_critics, feature_dim + action_dim, config.hidden, 1, layer_norm=config.layer_norm
        )

    def forward(self, features: Tensor, actions: Tensor, subset: Tensor | None = None) -> Tensor:
        """Value every proposal.

        Args:
            features: `[batch, feature_dim]`.
            actions: `[proposals, batch, action_dim]`.
            subset: `[K]` int64, the critics to compute; None computes all.

        Returns:
            `[proposals, K or num_critics, batch]`.
        """
        proposals, batch = actions.shape[0], actions.shape[1]
        q = self.mlp(features.unsqueeze(0), subset, actions)
        return q.view(-1, proposals, batch).transpose(0, 1)


class SpatialEmbedding(nn.Module):
    """An embedding of each channel of the tokens with proprioception and action, summed by learned weights.

    The first linear layer is one weight whose columns split: the patch part is computed once for all
    proposals, the proprioception and action part once per proposal (paper Fig. 18, `spatial_embed`).

    Args:
        num_critics: E, the size of the ensemble.
        num_tokens: tokens of an image.
        token_dim: features (channels) of a token.
        extra_dim: proprioception and action features.
        embed_dim: features of the result.
    """

    def __init__(
        self, num_critics: int, num_tokens: int, token_dim: int, extra_dim: int, embed_dim: int
    ) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.input = EnsembleLinear(num_critics, num_tokens + extra_dim, embed_dim)
        self.norm = EnsembleLayerNorm(num_critics, embed_dim)
        self.channel_weight = nn.Parameter(torch.randn(num_critics, token_dim, embed_dim))

    def forward(self, tokens: Tensor, extra: Tensor, subset: Tensor | None = None) -> Tensor:
        """Reduce an image and its proposals to vectors.

        Args:
            tokens: `[batch, num_tokens, token_dim]`.
            extra: `[proposals, batch, extra_dim]`, proprioception and action.
            subset: `[K]` int64, the critics to compute; None computes all.

        Returns:
            `[K or num_critics, proposals, batch, embed_dim]`.
        """
        weight, bias = pick(self.input.weight, subset), pick(self.input.bias, subset)
        patch_weight, extra_weight = weight.split([self.num_tokens, weight.shape[2] - self.num_tokens], 2)
        norm_weight, norm_bias = pick(self.norm.weight, subset), pick(self.norm.bias, subset)
        channel_weight = pick(self.channel_weight, subset)
        computed, embed_dim = weight.shape[0], weight.shape[1]
        proposals, batch = extra.shape[0], extra.shape[1]
        # the action part of the first layer: [K or num_critics, proposals, batch, embed_dim]
        extra_part = torch.baddbmm(
            bias.unsqueeze(1),
            extra.reshape(1, proposals * batch, -1).expand(computed, -1, -1),
            extra_weight.transpose(1, 2),
        ).view(computed, proposals, batch, embed_dim)
        given = (tokens, extra_part, patch_weight, norm_weight, norm_bias, channel_weight)
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return reduce_tokens_reference(*given)
        if prefers_reduce_tokens(extra_part):
            return reduce_tokens(*given)
        return reduce_tokens_reference(*given)


class TokenTrunk(nn.Module):
    """Flattened tokens through linear, LayerNorm, tanh, independent of the action (DrQ).

    Args:
        num_critics: E, the size of the ensemble.
        num_tokens: tokens of an image.
        token_dim: features of a token.
        embed_dim: features of the result.
    """

    def __init__(self, num_critics: int, num_tokens: int, token_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.linear = EnsembleLinear(num_critics, num_tokens * token_dim, embed_dim)
        self.norm = EnsembleLayerNorm(num_critics, embed_dim)

    def forward(self, tokens: Tensor, extra: Tensor, subset: Tensor | None = None) -> Tensor:
        """Reduce `[batch, num_tokens, token_dim]` to `[K or num_critics, proposals, batch, embed_dim]`.

        Args:
            tokens: the encoded images.
            extra: `[proposals, batch, extra_dim]`, read for its shape only.
            subset: `[K]` int64, the critics to compute; None computes all.
        """
        embedded = torch.tanh(self.norm(self.linear(tokens.flatten(1).unsqueeze(0), subset), subset))
        return embedded.unsqueeze(1).expand(-1, extra.shape[0], -1, -1)


class PixelCriticEnsemble(CriticEnsemble):
    """Critics on image tokens: a reduction of these, then an MLP that sees proprioception and action again.

    Args:
        num_tokens: tokens of an image.
        token_dim: features of a token.
        proprio_dim: proprioception features, possibly 0.
        action_dim: action components.
        config: ensemble size, head, hidden layers.
    """

    def __init__(
        self, num_tokens: int, token_dim: int, proprio_dim: int, action_dim: int, config: CriticConfig
    ) -> None:
        super().__init__()
        self.num_critics = config.num_critics
        extra_dim = proprio_dim + action_dim
        reduce: nn.Module
        if config.head == "spatial":
            reduce = SpatialEmbedding(config.num_critics, num_tokens, token_dim, extra_dim, config.embed_dim)
        else:
            reduce = TokenTrunk(config.num_critics, num_tokens, token_dim, config.embed_dim)
        self.reduce = reduce
        self.mlp = EnsembleMLP(
            config.num_critics, config.embed_dim + extra_dim, config.hidden, 1, layer_norm=config.layer_norm
        )
        orthogonal_(self.mlp, last_gain=0.01)

    def forward(
        self, features: tuple[Tensor, Tensor], actions: Tensor, subset: Tensor | None = None
    ) -> Tensor:
        """Value every proposal.

        Args:
            features: tokens `[batch, num_tokens, token_dim]` and proprioception `[batch, proprio_dim]`.
            actions: `[proposals, batch, action_dim]`.
            subset: `[K]` int64, the critics to compute; None computes all.

        Returns:
            `[proposals, K or num_critics, batch]`.
        """
        tokens, proprio = features
        proposals, batch = actions.shape[0], actions.shape[1]
        extra = torch.cat([proprio.expand(proposals, -1, -1), actions], dim=2)
        reduced = self.reduce(tokens, extra, subset)
        computed = reduced.shape[0]
        x = torch.cat([reduced, extra.expand(computed, -1, -1, -1).to(reduced.dtype)], dim=3)
        q = self.mlp(x.view(computed, proposals * batch, -1), subset)
        return q.view(computed, proposals, batch).transpose(0, 1)
