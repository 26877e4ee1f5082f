"""A hidden layer of an ensemble after its matrix product: bias, LayerNorm and ReLU in one pass, for CUDA.

The CPU kernel is slower than eager torch: it lets tests run the CUDA formulas without a GPU.
"""

from __future__ import annotations

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
# kEnsembleNormReluSplits in csrc/kernels/ensemble_norm_relu.h
_SPLITS = 64


def ensemble_norm_relu_reference(x: Tensor, bias: Tensor, norm_weight: Tensor, norm_bias: Tensor) -> Tensor:
    """Reference implementation: bias, LayerNorm, ReLU one after the other."""
    wide = x.to(bias.dtype) + bias.unsqueeze(1)
    normalised = F.layer_norm(wide, wide.shape[-1:], eps=_EPS)
    return F.relu(torch.addcmul(norm_bias.unsqueeze(1), normalised, norm_weight.unsqueeze(1))).to(x.dtype)


def ensemble_norm_relu(
    x: Tensor, bias: Tensor, norm_weight: Tensor, norm_bias: Tensor, *, out: Tensor | None = None
) -> Tensor:
    """Compute ReLU(LayerNorm(x + bias)) for every critic; differentiable once.

    Args:
        x: float32, float64 or bfloat16 `[num_critics, batch, width]`, the matrix products.
        bias: float32 (float64 where x is) `[num_critics, width]`, the linear layers'.
        norm_weight: as bias `[num_critics, width]`, LayerNorm's.
        norm_bias: as bias `[num_critics, width]`, LayerNorm's.
        out: to write into, contiguous and apart from everything else; only where no gradient is asked for.

    Returns:
        `[num_critics, batch, width]` of x's dtype.

    Raises:
        ValueError: a wrong shape, dtype or device, or rows of more than 2048 elements on CUDA.
        TypeError: something that is no tensor.
    """
    check_tensor("x", x, ("num_critics", "batch", "width"), _DTYPES)
    num_critics, _, width = x.shape
    weight_dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    for name, weight in (("bias", bias), ("norm_weight", norm_weight), ("norm_bias", norm_bias)):
        check_tensor(name, weight, (num_critics, width), (weight_dtype,), x.device)
    if x.device.type == "cuda" and width > MAX_CUDA_WIDTH:
        raise ArgumentError(f"width: expected at most {MAX_CUDA_WIDTH} on CUDA, got {width}")
    given = (x, bias, norm_weight, norm_bias)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        if out is not None:
            raise ArgumentError("out: expected None where a gradient is asked for, got a tensor")
        return _EnsembleNormRelu.apply(*given)
    if out is None:
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    else:
        check_out("out", out, x.shape, x.dtype, x.device)
        check_apart("out", (out,), given)
    _forward(tuple(tensor.detach().contiguous() for tensor in given), out)
    return out


def _forward(given: tuple[Tensor, ...], out: Tensor) -> tuple[Tensor, Tensor]:
    """Write `out`; return LayerNorm's mean and inverse standard deviation, each `[num_critics, batch]`."""
    mean, rstd = given[1].new_empty(out.shape[:2]), given[1].new_empty(out.shape[:2])
    _ensemble_norm_relu(*given, _EPS, out, mean, rstd)
    return mean, rstd


class _EnsembleNormRelu(torch.autograd.Function):
    """Saves its arguments and LayerNorm's statistics; the normalised values are computed again."""

    @staticmethod
    def forward(ctx: Any, *arguments: Tensor) -> Tensor:
        given = tuple(tensor.contiguous() for tensor in arguments)
        out = torch.empty_like(given[0])
        ctx.save_for_backward(*given, *_forward(given, out))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights, mean, rstd = ctx.saved_tensors
        grad_x, scratch = torch.empty_like(x), None
        grads: list[Tensor | None] = [None, None, None]
        if any(ctx.needs_input_grad[1:]):
            # without a batch no kernel runs that would write the sums
            make = torch.empty_like if x.shape[1] > 0 else torch.zeros_like
            grads = [make(weight) for weight in weights]
            scratch = weights[0].new_empty(3 * _SPLITS * weights[0].numel())
        _ensemble_norm_relu_backward(grad.contiguous(), x, *weights, mean, rstd, grad_x, *grads, scratch)
        return grad_x, *grads


def _fields(
    x: Tensor,
    bias: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    eps: float,
    out: Tensor,
    mean: Tensor,
    rstd: Tensor,
) -> _core.EnsembleNormReluFields:
    num_critics, batch, width = x.shape
    return {
        "x": x.data_ptr(),
        "bias": bias.data_ptr(),
        "norm_weight": norm_weight.data_ptr(),
        "norm_bias": norm_bias.data_ptr(),
        "out": out.data_ptr(),
        "mean": mean.data_ptr(),
        "rstd": rstd.data_ptr(),
        "num_critics": num_critics,
        "batch": batch,
        "width": width,
        "eps": eps,
        "dtype": DTYPE_CODES[x.dtype],
    }


def _backward_fields(
    grad_out: Tensor,
    x: Tensor,
    bias: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    mean: Tensor,
    rstd: Tensor,
    grad_x: Tensor,
    grad_bias: Tensor | None,
    grad_norm_weight: Tensor | None,
    grad_norm_bias: Tensor | None,
    scratch: Tensor | None,
) -> _core.EnsembleNormReluBackwardFields:
    num_critics, batch, width = x.shape
    return {
        "grad_out": grad_out.data_ptr(),
        "x": x.data_ptr(),
        "bias": bias.data_ptr(),
        "norm_weight": norm_weight.data_ptr(),
        "norm_bias": norm_bias.data_ptr(),
        "mean": mean.data_ptr(),
        "rstd": rstd.data_ptr(),
        "grad_x": grad_x.data_ptr(),
        "grad_bias": address_of(grad_bias),
        "grad_norm_weight": address_of(grad_norm_weight),
        "grad_norm_bias": address_of(grad_norm_bias),
        "scratch": address_of(scratch),
        "num_critics": num_critics,
        "batch": batch,
        "width": width,
        "dtype": DTYPE_CODES[x.dtype],
    }


_ensemble_norm_relu = register(
    "ensemble_norm_relu",
    "Tensor x, Tensor bias, Tensor norm_weight, Tensor norm_bias, float eps, Tensor(a!) out, "
    "Tensor(b!) mean, Tensor(c!) rstd",
    _fields,
)
_ensemble_norm_relu_backward = register(
    "ensemble_norm_relu_backward",
    "Tensor grad_out, Tensor x, Tensor bias, Tensor norm_weight, Tensor norm_bias, Tensor mean, Tensor rstd, "
    "Tensor(a!) grad_x, Tensor(b!)? grad_bias, Tensor(c!)? grad_norm_weight, Tensor(d!)? grad_norm_bias, "
    "Tensor(e!)? scratch",
    _backward_fields,
)
