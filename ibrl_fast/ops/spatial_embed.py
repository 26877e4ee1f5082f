"""LayerNorm, ReLU and weighted sum over channels in one pass, for an ensemble (paper Fig. 18)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ibrl_fast import _core
from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops._registry import DTYPE_CODES, address_of, register
from ibrl_fast.ops.checks import MAX_CUDA_WIDTH, check_apart, check_out, check_tensor

_EPS = 1e-5
_DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def spatial_embed_reference(
    patches: Tensor, extra: Tensor, norm_weight: Tensor, norm_bias: Tensor, channel_weight: Tensor
) -> Tensor:
    """Reference implementation: critic by critic, proposal by proposal."""
    reduced = []
    for critic, proposals in enumerate(extra):
        scale, shift = norm_weight[critic], norm_bias[critic]
        for part in proposals:
            x = (patches[:, :, critic] + part.unsqueeze(1)).to(norm_weight.dtype)
            hidden = F.layer_norm(x, x.shape[-1:], scale, shift, _EPS)
            reduced.append((F.relu(hidden) * channel_weight[critic]).sum(1))
    return torch.stack(reduced).view(extra.shape).to(patches.dtype)


def spatial_embed(
    patches: Tensor,
    extra: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    channel_weight: Tensor,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Sum channel_weight * ReLU(LayerNorm(patches + extra)) over the channels; differentiable once.

    Args:
        patches: float32, float64 or bfloat16 `[batch, channels, num_critics, embed_dim]`, the image part of
            the critics' first linear layers; the proposals share it.
        extra: as patches `[num_critics, proposals, batch, embed_dim]`, those layers' bias, proprioception
            and action part.
        norm_weight: float32 (float64 where patches are) `[num_critics, embed_dim]`, LayerNorm's.
        norm_bias: as norm_weight `[num_critics, embed_dim]`, LayerNorm's.
        channel_weight: as norm_weight `[num_critics, channels, embed_dim]`, weights of the sum.
        out: to write into, contiguous and apart from everything else; only where no gradient is asked for.

    Returns:
        `[num_critics, proposals, batch, embed_dim]` of patches' dtype.

    Raises:
        ValueError: a wrong shape, dtype or device, or more than 2048 features on CUDA.
        TypeError: something that is no tensor.
    """
    given = (patches, extra, norm_weight, norm_bias, channel_weight)
    check_inputs(*given)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        if out is not None:
            raise ArgumentError("out: expected None where a gradient is asked for, got a tensor")
        return _SpatialEmbed.apply(*given)
    if out is not None:
        check_out("out", out, extra.shape, extra.dtype, extra.device)
        check_apart("out", (out,), given)
    patches, extra, *weights = (tensor.detach().contiguous() for tensor in given)
    if out is None:
        out = torch.empty_like(extra)
    spatial_embed_forward(patches, extra, weights, out)
    return out


def check_inputs(
    patches: Tensor, extra: Tensor, norm_weight: Tensor, norm_bias: Tensor, channel_weight: Tensor
) -> None:
    """Check the arguments of `spatial_embed`; ValueError or TypeError for what the kernels cannot take."""
    check_tensor("patches", patches, ("batch", "channels", "num_critics", "embed_dim"), _DTYPES)
    batch, channels, num_critics, embed_dim = patches.shape
    device = patches.device
    check_tensor("extra", extra, (num_critics, "proposals", batch, embed_dim), (patches.dtype,), device)
    weight_dtype = torch.float64 if patches.dtype == torch.float64 else torch.float32
    check_tensor("norm_weight", norm_weight, (num_critics, embed_dim), (weight_dtype,), device)
    check_tensor("norm_bias", norm_bias, (num_critics, embed_dim), (weight_dtype,), device)
    check_tensor(
        "channel_weight", channel_weight, (num_critics, channels, embed_dim), (weight_dtype,), device
    )
    if device.type == "cuda" and embed_dim > MAX_CUDA_WIDTH:
        raise ArgumentError(f"embed_dim: expected at most {MAX_CUDA_WIDTH} on CUDA, got {embed_dim}")


def spatial_embed_forward(
    patches: Tensor, extra: Tensor, weights: Sequence[Tensor], out: Tensor
) -> tuple[Tensor, Tensor]:
    """Write `out`, without gradients and checks; rows must be contiguous.

    Args:
        patches: as in spatial_embed.
        extra: as in spatial_embed.
        weights: norm_weight, norm_bias, channel_weight.
        out: `[num_critics, proposals, batch, embed_dim]`.

    Returns:
        LayerNorm's mean and inverse standard deviation, each `[num_critics, proposals, batch, channels]`, for
        the backward.
    """
    shape = (*extra.shape[:3], patches.shape[1])
    mean, rstd = weights[0].new_empty(shape), weights[0].new_empty(shape)
    _spatial_embed(patches, extra, *weights, _EPS, out, mean, rstd)
    return mean, rstd


def spatial_embed_backward(
    grad_out: Tensor,
    patches: Tensor,
    extra: Tensor,
    weights: Sequence[Tensor],
    statistics: Sequence[Tensor],
    grad_extra: Tensor,
    grad_patches: Tensor | None,
    grad_weights: Sequence[Tensor] | None,
) -> None:
    """Write grad_extra and grad_patches; add to grad_weights.

    Args:
        grad_out: as out.
        patches: as in spatial_embed.
        extra: as in spatial_embed.
        weights: norm_weight, norm_bias, channel_weight.
        statistics: what spatial_embed_forward returned.
        grad_extra: as extra.
        grad_patches: as patches, or None where it is not wanted.
        grad_weights: as weights, or None where they are not wanted.
    """
    on_cuda = extra.device.type == "cuda"
    count = _core.spatial_embed_scratch_cuda if on_cuda else _core.spatial_embed_scratch_cpu
    size = count({**_sizes(patches, extra), "of_weights": grad_weights is not None})
    grads = (grad_extra, grad_patches, *(grad_weights or (None, None, None)))
    scratch = weights[0].new_empty(size)
    _spatial_embed_backward(grad_out, patches, extra, *weights, *statistics, *grads, scratch)


class _SpatialEmbed(torch.autograd.Function):
    """Saves its arguments and LayerNorm's statistics; the normalised values are computed again."""

    @staticmethod
    def forward(
        ctx: Any,
        patches: Tensor,
        extra: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        channel_weight: Tensor,
    ) -> Tensor:
        patches, extra = patches.contiguous(), extra.contiguous()
        weights = [weight.contiguous() for weight in (norm_weight, norm_bias, channel_weight)]
        out = torch.empty_like(extra)
        statistics = spatial_embed_forward(patches, extra, weights, out)
        ctx.save_for_backward(patches, extra, *weights, *statistics)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        patches, extra, *rest = ctx.saved_tensors
        weights, statistics = rest[:3], rest[3:]
        need_patches, need_weights = ctx.needs_input_grad[0], any(ctx.needs_input_grad[2:])
        grad_extra = torch.empty_like(extra)
        grad_patches = torch.empty_like(patches) if need_patches else None
        grad_weights = [torch.zeros_like(weight) for weight in weights] if need_weights else None
        spatial_embed_backward(
            grad.contiguous(), patches, extra, weights, statistics, grad_extra, grad_patches, grad_weights
        )
        return grad_patches, grad_extra, *(grad_weights or (None, None, None))


def _sizes(patches: Tensor, extra: Tensor) -> _core.SpatialEmbedSizesFields:
    num_critics, proposals, batch, embed_dim = extra.shape
    return {
        "num_critics": num_critics,
        "proposals": proposals,
        "batch": batch,
        "channels": patches.shape[1],
        "embed_dim": embed_dim,
        "dtype": DTYPE_CODES[patches.dtype],
    }


def _fields(
    patches: Tensor,
    extra: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    channel_weight: Tensor,
    eps: float,
    out: Tensor,
    mean: Tensor,
    rstd: Tensor,
) -> _core.SpatialEmbedFields:
    return {
        "patches": patches.data_ptr(),
        "extra": extra.data_ptr(),
        "norm_weight": norm_weight.data_ptr(),
        "norm_bias": norm_bias.data_ptr(),
        "channel_weight": channel_weight.data_ptr(),
        "out": out.data_ptr(),
        "mean": mean.data_ptr(),
        "rstd": rstd.data_ptr(),
        **_sizes(patches, extra),
        "extra_strides": extra.stride()[:3],
        "out_strides": out.stride()[:3],
        "eps": eps,
    }


def _backward_fields(
    grad_out: Tensor,
    patches: Tensor,
    extra: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    channel_weight: Tensor,
    mean: Tensor,
    rstd: Tensor,
    grad_extra: Tensor,
    grad_patches: Tensor | None,
    grad_norm_weight: Tensor | None,
    grad_norm_bias: Tensor | None,
    grad_channel_weight: Tensor | None,
    scratch: Tensor,
) -> _core.SpatialEmbedBackwardFields:
    return {
        "grad_out": grad_out.data_ptr(),
        "patches": patches.data_ptr(),
        "extra": extra.data_ptr(),
        "norm_weight": norm_weight.data_ptr(),
        "norm_bias": norm_bias.data_ptr(),
        "channel_weight": channel_weight.data_ptr(),
        "mean": mean.data_ptr(),
        "rstd": rstd.data_ptr(),
        "grad_extra": grad_extra.data_ptr(),
        "grad_patches": address_of(grad_patches),
        "grad_norm_weight": address_of(grad_norm_weight),
        "grad_norm_bias": address_of(grad_norm_bias),
        "grad_channel_weight": address_of(grad_channel_weight),
        "scratch": scratch.data_ptr(),
        **_sizes(patches, extra),
        "grad_out_strides": grad_out.stride()[:3],
        "extra_strides": extra.stride()[:3],
        "grad_extra_strides": grad_extra.stride()[:3],
    }


_spatial_embed = register(
    "spatial_embed",
    "Tensor patches, Tensor extra, Tensor norm_weight, Tensor norm_bias, Tensor channel_weight, float eps, "
    "Tensor(a!) out, Tensor(b!) mean, Tensor(c!) rstd",
    _fields,
)
_spatial_embed_backward = register(
    "spatial_embed_backward",
    "Tensor grad_out, Tensor patches, Tensor extra, Tensor norm_weight, Tensor norm_bias, "
    "Tensor channel_weight, Tensor mean, Tensor rstd, Tensor(a!) grad_extra, Tensor(b!)? grad_patches, "
    "Tensor(c!)? grad_norm_weight, Tensor(d!)? grad_norm_bias, Tensor(e!)? grad_channel_weight, "
    "Tensor(f!) scratch",
    _backward_fields,
)
