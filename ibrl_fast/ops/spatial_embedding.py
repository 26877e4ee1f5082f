"""The pixel critic's reduction of image tokens to a vector (paper Fig. 18, `spatial_embed`), piece by piece.

Written out for the CPU: the intermediate `[batch, channels, embed_dim]`, 134 MB per critic at the paper's
sizes, never exists as a whole. The backward computes it again in cache-sized pieces, as far as wanted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ibrl_fast.ops.linear import linear

_EPS = 1e-5
# elements of one piece of the intermediate: 2 MB in float32
_PIECE = 2**19


def prefers_spatial_embedding(x: Tensor) -> bool:
    """Whether spatial_embedding beats its reference for this input: on the CPU, unless it is traced."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def spatial_embedding_reference(
    tokens: Tensor,
    extra: Tensor,
    patch_weight: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    channel_weight: Tensor,
) -> Tensor:
    """The same in torch, one critic at a time; arguments as in spatial_embedding."""
    reduced: list[Tensor] = []
    for member in range(extra.shape[0]):
        patches = F.linear(tokens.transpose(1, 2), patch_weight[member])
        for proposal in range(extra.shape[1]):
            hidden = F.layer_norm(
                patches + extra[member, proposal].unsqueeze(1),
                patches.shape[-1:],
                norm_weight[member],
                norm_bias[member],
            )
            reduced.append((F.relu(hidden) * channel_weight[member].to(hidden.dtype)).sum(1))
    return torch.stack(reduced).view(extra.shape)


def spatial_embedding(
    tokens: Tensor,
    extra: Tensor,
    patch_weight: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    channel_weight: Tensor,
) -> Tensor:
    """Sum over channels of channel_weight * ReLU(LayerNorm(patches W^T + extra)); differentiable once.

    Args:
        tokens: `[batch, num_tokens, channels]`, on the CPU; shared by members and proposals.
        extra: `[members, proposals, batch, embed_dim]`, what action and proprioception add, bias included.
        patch_weight: `[members, embed_dim, num_tokens]`.
        norm_weight: `[members, embed_dim]`, LayerNorm's.
        norm_bias: `[members, embed_dim]`, LayerNorm's.
        channel_weight: `[members, channels, embed_dim]`.

    Returns:
        `[members, proposals, batch, embed_dim]`, in extra's dtype.

    Raises:
        ValueError: sizes that do not fit.
    """
    members, _, batch, embed_dim = extra.shape
    expected = (members, tokens.shape[2], embed_dim)
    if tuple(channel_weight.shape) != expected:
        raise ValueError(f"channel_weight: expected {list(expected)}, got {list(channel_weight.shape)}")
    if tuple(patch_weight.shape) != (members, embed_dim, tokens.shape[1]) or tokens.shape[0] != batch:
        raise ValueError(
            f"patch_weight: expected {[members, embed_dim, tokens.shape[1]]} and tokens of batch {batch}, "
            f"got {list(patch_weight.shape)} and {list(tokens.shape)}"
        )
    return _SpatialEmbedding.apply(tokens, extra, patch_weight, norm_weight, norm_bias, channel_weight)


class _Pieces:
    """The intermediate values of one critic, for a few batch entries at a time."""

    def __init__(self, tokens: Tensor, dtype: torch.dtype, embed_dim: int) -> None:
        self.tokens, self.dtype = tokens, dtype
        self.batch, self.num_tokens, self.channels = tokens.shape
        self.size = max(1, _PIECE // (self.channels * embed_dim))

    def __iter__(self) -> Any:
        """Slices of the batch and their channels `[size * channels, num_tokens]`."""
        for start in range(0, self.batch, self.size):
            rows = slice(start, min(start + self.size, self.batch))
            yield rows, self.tokens[rows].to(self.dtype).transpose(1, 2).reshape(-1, self.num_tokens)

    def normalise(self, patches: Tensor, extra: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        """LayerNorm's input and its outputs, `[size, channels, embed_dim]`, from one proposal's `extra`."""
        embed_dim = patches.shape[-1]
        x = patches.view(-1, self.channels, embed_dim) + extra.unsqueeze(1)
        return (x, *torch.native_layer_norm(x, (embed_dim,), weight, bias, _EPS))


class _SpatialEmbedding(torch.autograd.Function):
    """Saves its arguments only."""

    @staticmethod
    def forward(ctx: Any, *arguments: Tensor) -> Tensor:
        tokens, extra, patch_weight, norm_weight, norm_bias, channel_weight = arguments
        members, proposals, _, embed_dim = extra.shape
        result = torch.empty_like(extra)
        pieces = _Pieces(tokens, extra.dtype, embed_dim)
        patch_weights = patch_weight.to(extra.dtype).contiguous().unbind(0)
        channel_weights = channel_weight.to(extra.dtype).unbind(0)
        for rows, channels in pieces:
            for member in range(members):
                patches = linear(channels, patch_weights[member])
                for proposal in range(proposals):
                    part = extra[member, proposal, rows]
                    hidden = pieces.normalise(patches, part, norm_weight[member], norm_bias[member])[1]
                    result[member, proposal, rows] = hidden.relu_().mul_(channel_weights[member]).sum(1)
        ctx.save_for_backward(*arguments)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        tokens, extra, patch_weight, norm_weight, norm_bias, channel_weight = ctx.saved_tensors
        members, proposals, _, embed_dim = extra.shape
        need_tokens, _, need_weights = ctx.needs_input_grad[:3]
        grad_tokens = torch.zeros_like(tokens) if need_tokens else None
        grad_extra = torch.empty_like(extra)
        weights = (patch_weight, norm_weight, norm_bias, channel_weight)
        grad_weights = [torch.zeros_like(weight) for weight in weights] if need_weights else None
        pieces = _Pieces(tokens, extra.dtype, embed_dim)
        patch_weights = patch_weight.to(extra.dtype).contiguous().unbind(0)
        channel_weights = channel_weight.to(extra.dtype).unbind(0)
        for rows, channels in pieces:
            for member in range(members):
                # forward again
                patches = linear(channels, patch_weights[member])
                grad_patches = None
                for proposal in range(proposals):
                    part = extra[member, proposal, rows]
                    x, hidden, mean, rstd = pieces.normalise(
                        patches, part, norm_weight[member], norm_bias[member]
                    )
                    hidden.relu_()
                    # back through the weighted sum, ReLU and LayerNorm
                    error = grad[member, proposal, rows].unsqueeze(1)
                    if grad_weights is not None:
                        grad_weights[3][member] += (error * hidden).sum(0)
                    error = error * channel_weights[member]
                    error = torch.ops.aten.threshold_backward(error, hidden, 0)
                    error, grad_norm_weight, grad_norm_bias = torch.ops.aten.native_layer_norm_backward(
                        error,
                        x,
                        (embed_dim,),
                        mean,
                        rstd,
                        norm_weight[member],
                        norm_bias[member],
                        [True, need_weights, need_weights],
                    )
                    grad_extra[member, proposal, rows] = error.sum(1)
                    if grad_weights is not None:
                        grad_weights[1][member] += grad_norm_weight
                        grad_weights[2][member] += grad_norm_bias
                    grad_patches = error if grad_patches is None else grad_patches.add_(error)
                # back through the product that the proposals share
                assert grad_patches is not None
                grad_patches = grad_patches.view(-1, embed_dim)
                if grad_weights is not None:
                    grad_weights[0][member] += linear(grad_patches.t(), channels.t())
                if grad_tokens is not None:
                    back = linear(grad_patches, patch_weights[member].t()).view(
                        -1, pieces.channels, pieces.num_tokens
                    )
                    grad_tokens[rows] += back.transpose(1, 2)
        return (grad_tokens, grad_extra, *(grad_weights or (None,) * 4))
