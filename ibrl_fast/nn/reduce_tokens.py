"""The pixel critics' reduction of image tokens to a vector (paper Fig. 18, `spatial_embed`).

The intermediate `[batch, channels, embed_dim]` is 134 MB per critic in float32 at the paper's sizes. On the
CPU it never exists as a whole: forward and backward are written out, piece by piece, and the backward
computes the pieces again, as far as wanted. On CUDA the linear layer's patch part is one product for all
critics, which the proposals share, in bfloat16 under autocast; LayerNorm, ReLU and the weighted sum read it
once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ibrl_fast.errors import ArgumentError
from ibrl_fast.nn.fast_layers import linear
from ibrl_fast.ops.checks import MAX_CUDA_WIDTH, check_tensor
from ibrl_fast.ops.spatial_embed import spatial_embed, spatial_embed_backward, spatial_embed_forward

_DTYPES = (torch.float32, torch.float64, torch.bfloat16)

_FLOATING = (*_DTYPES, torch.float16)

# elements of one piece of the intermediate: 2 MB in float32
_PIECE = 2**19


def prefers_reduce_tokens(extra: Tensor) -> bool:
    """Return whether `reduce_tokens` beats its reference: wherever it runs, unless it is traced."""
    fits = extra.device.type == "cpu" or (extra.device.type == "cuda" and extra.shape[-1] <= MAX_CUDA_WIDTH)
    return fits and not torch.compiler.is_compiling()


def reduce_tokens_reference(
    tokens: Tensor,
    extra: Tensor,
    patch_weight: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    channel_weight: Tensor,
) -> Tensor:
    """Reference implementation: one critic at a time; arguments as in `reduce_tokens`."""
    reduced: list[Tensor] = []
    for critic in range(extra.shape[0]):
        patches = F.linear(tokens.transpose(1, 2), patch_weight[critic])
        for proposal in range(extra.shape[1]):
            hidden = F.layer_norm(
                patches + extra[critic, proposal].unsqueeze(1),
                patches.shape[-1:],
                norm_weight[critic],
                norm_bias[critic],
            )
            reduced.append((F.relu(hidden) * channel_weight[critic].to(hidden.dtype)).sum(1))
    return torch.stack(reduced).view(extra.shape)


def reduce_tokens(
    tokens: Tensor,
    extra: Tensor,
    patch_weight: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    channel_weight: Tensor,
) -> Tensor:
    """Sum channel_weight * ReLU(LayerNorm(patches W^T + extra)) over the channels; differentiable once.

    Args:
        tokens: `[batch, num_tokens, channels]`, shared by critics and proposals.
        extra: float32, float64 or bfloat16 `[num_critics, proposals, batch, embed_dim]`, what
            action and proprioception add, bias included.
        patch_weight: `[num_critics, embed_dim, num_tokens]`.
        norm_weight: `[num_critics, embed_dim]`, LayerNorm's.
        norm_bias: `[num_critics, embed_dim]`, LayerNorm's.
        channel_weight: `[num_critics, channels, embed_dim]`.

    Returns:
        `[num_critics, proposals, batch, embed_dim]`, in extra's dtype.

    Raises:
        ValueError: shapes or dtypes that do not fit, or several devices.
        TypeError: something that is no tensor.
    """
    check_tensor("extra", extra, ("num_critics", "proposals", "batch", "embed_dim"), _DTYPES)
    (num_critics, _, batch, embed_dim), device = extra.shape, extra.device
    check_tensor("tokens", tokens, ("batch", "num_tokens", "channels"), _FLOATING, device)
    _, num_tokens, channels = tokens.shape
    check_tensor("patch_weight", patch_weight, ("num_critics", "embed_dim", "num_tokens"), _FLOATING, device)
    if tuple(patch_weight.shape) != (num_critics, embed_dim, num_tokens) or tokens.shape[0] != batch:
        raise ArgumentError(
            f"patch_weight: expected {[num_critics, embed_dim, num_tokens]} and tokens of batch {batch}, "
            f"got {list(patch_weight.shape)} and {list(tokens.shape)}"
        )
    for name, weight, shape in (
        ("norm_weight", norm_weight, (num_critics, embed_dim)),
        ("norm_bias", norm_bias, (num_critics, embed_dim)),
        ("channel_weight", channel_weight, (num_critics, channels, embed_dim)),
    ):
        check_tensor(name, weight, shape, _FLOATING, device)
    given = (tokens, extra, patch_weight, norm_weight, norm_bias, channel_weight)
    return _ReduceTokens.apply(*given) if extra.device.type == "cpu" else reduce_at_once(*given)


def reduce_at_once(
    tokens: Tensor,
    extra: Tensor,
    patch_weight: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    channel_weight: Tensor,
) -> Tensor:
    """Reduce tokens as on CUDA, by one product and one fused reduction; arguments are not checked.

    Both factors are laid out with the long dimension contiguous, `[num_tokens, batch * channels]` and
    `[num_tokens, num_critics * embed_dim]`: cuBLAS wants rows of 16 bytes' multiples, which 121 tokens are
    not.
    """
    batch, num_tokens, channels = tokens.shape
    num_critics, embed_dim, _ = patch_weight.shape
    by_token = _contiguous(tokens.transpose(0, 1), extra.dtype).view(num_tokens, -1)
    weight = _contiguous(patch_weight.permute(2, 0, 1), extra.dtype).view(num_tokens, -1)
    patches = torch.mm(by_token.t(), weight).view(batch, channels, num_critics, embed_dim)
    dtype = torch.float64 if extra.dtype == torch.float64 else torch.float32
    return spatial_embed(patches, extra, norm_weight.to(dtype), norm_bias.to(dtype), channel_weight.to(dtype))


def _contiguous(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x without gaps in its present order, in this dtype: one copy at most."""
    return x.to(dtype, memory_format=torch.contiguous_format).contiguous()


class _Pieces:
    """The patch features of one critic, for a few batch entries at a time."""

    def __init__(self, tokens: Tensor, extra: Tensor, patch_weight: Tensor) -> None:
        self.tokens, self.dtype = tokens, extra.dtype
        self.batch, self.num_tokens, self.channels = tokens.shape
        self.embed_dim = extra.shape[-1]
        self.size = max(1, _PIECE // max(1, self.channels * self.embed_dim))
        self.weights = patch_weight.to(self.dtype).contiguous().unbind(0)

    def __iter__(self) -> Any:
        """Slices of the batch and their channels `[size * channels, num_tokens]`."""
        for start in range(0, self.batch, self.size):
            rows = slice(start, min(start + self.size, self.batch))
            yield rows, self.tokens[rows].to(self.dtype).transpose(1, 2).reshape(-1, self.num_tokens)

    def patches(self, channels: Tensor, critic: int) -> Tensor:
        """Return the first linear layer's patch part, `[size, channels, 1, embed_dim]`."""
        return linear(channels, self.weights[critic]).view(-1, self.channels, 1, self.embed_dim)


def _master_weights(extra: Tensor, *weights: Tensor) -> list[tuple[Tensor, ...]]:
    """Per critic, `[1, ...]`, the weights as the kernel reads them: float64 beside float64, else float32."""
    dtype = torch.float64 if extra.dtype == torch.float64 else torch.float32
    return list(zip(*(weight.to(dtype).contiguous().split(1) for weight in weights)))


class _ReduceTokens(torch.autograd.Function):
    """Saves its arguments and LayerNorm's statistics."""

    @staticmethod
    def forward(ctx: Any, *arguments: Tensor) -> Tensor:
        tokens, extra, patch_weight, *weights = arguments
        extra = extra.contiguous()
        result = torch.empty_like(extra)
        pieces = _Pieces(tokens, extra, patch_weight)
        kernel_weights = _master_weights(extra, *weights)
        statistics = []
        for rows, channels in pieces:
            for critic, critic_weights in enumerate(kernel_weights):
                patches = pieces.patches(channels, critic)
                of_critic = (slice(critic, critic + 1), slice(None), rows)
                part, out = extra[of_critic], result[of_critic]
                statistics.append(spatial_embed_forward(patches, part, critic_weights, out))
        ctx.save_for_backward(tokens, extra, patch_weight, *weights)
        ctx.statistics = statistics
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        tokens, extra, patch_weight, *weights = ctx.saved_tensors
        need_tokens, _, *need_weights = ctx.needs_input_grad
        through_patches = need_tokens or need_weights[0]
        grad = grad.contiguous()
        grad_extra = torch.empty_like(extra)
        grad_tokens = torch.zeros_like(tokens) if need_tokens else None
        grad_patch_weight = torch.zeros_like(patch_weight) if need_weights[0] else None
        pieces = _Pieces(tokens, extra, patch_weight)
        kernel_weights = _master_weights(extra, *weights)
        grad_weights = None
        if any(need_weights):
            grad_weights = _master_weights(extra, *(torch.zeros_like(weight) for weight in weights))
        statistics = iter(ctx.statistics)
        for rows, channels in pieces:
            for critic, critic_weights in enumerate(kernel_weights):
                # forward again, then back through the weighted sum, ReLU and LayerNorm
                patches = pieces.patches(channels, critic)
                grad_patches = torch.empty_like(patches) if through_patches else None
                of_critic = (slice(critic, critic + 1), slice(None), rows)
                spatial_embed_backward(
                    grad[of_critic],
                    patches,
                    extra[of_critic],
                    critic_weights,
                    next(statistics),
                    grad_extra[of_critic],
                    grad_patches,
                    None if grad_weights is None else grad_weights[critic],
                )
                # back through the product that the proposals share
                if grad_patches is None:
                    continue
                flat = grad_patches.view(-1, pieces.embed_dim)
                if grad_patch_weight is not None:
                    grad_patch_weight[critic] += linear(flat.t(), channels.t())
                if grad_tokens is not None:
                    back = linear(flat, pieces.weights[critic].t())
                    grad_tokens[rows] += back.view(-1, pieces.channels, pieces.num_tokens).transpose(1, 2)
        of_weights: list[Tensor | None] = [None] * len(weights)
        if grad_weights is not None:
            of_weights = [torch.cat(parts) for parts in zip(*grad_weights)]
        return (grad_tokens, grad_extra, grad_patch_weight, *of_weights)
