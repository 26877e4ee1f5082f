"""PyTorch's layers by the fastest code at hand: linear, attention, the layout of images.

PyTorch sends float32 products on the CPU to MKL, which runs AVX2 code on processors of other makers; oneDNN,
also in PyTorch's CPU builds, has AVX-512 code for all of them (twice as fast on Zen 5). PyTorch's fused
attention has a slow bfloat16 backward on CPUs without bfloat16 tiles: at 121 tokens of 32 features two
products and a softmax take a quarter of its time. CUDA tensors, other dtypes, small products and traced code
take PyTorch's own way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops.checks import check_tensor

# below this, starting oneDNN costs more than it saves
_MIN_PRODUCTS = 2**20
_MIN_ROWS = 16


def find_onednn() -> Any:
    """Return oneDNN's float32 product, where this build of PyTorch has it."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return None
    return torch.ops.mkldnn._linear_pointwise.default


_onednn_linear = find_onednn()


def linear_reference(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Reference implementation of `linear`."""
    return F.linear(x, weight, bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute a linear layer, differentiable once.

    Args:
        x: `[..., in_dim]`.
        weight: `[out_dim, in_dim]`.
        bias: `[out_dim]`, or None.

    Returns:
        `[..., out_dim]`.

    Raises:
        ValueError: a weight on another device.
        RuntimeError: shapes or dtypes that do not fit (PyTorch's message).
        TypeError: something that is no tensor (PyTorch's message).
    """
    if not _prefers_onednn(x, weight, bias):
        # PyTorch multiplies by a weight without memory and returns what happens to be there
        if isinstance(weight, Tensor) and weight.is_meta and not getattr(x, "is_meta", True):
            raise ArgumentError(f"weight: expected a tensor on {x.device}, got one on {weight.device}")
        return F.linear(x, weight, bias)
    flat = x.reshape(-1, x.shape[-1])
    needs_grad = x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    if torch.is_grad_enabled() and needs_grad:
        y = _OneDNNLinear.apply(flat, weight, bias)
    else:
        y = _product(flat, weight, bias)
    return y.view(*x.shape[:-1], weight.shape[0])


def _prefers_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether oneDNN computes this product, forward and backward; it trusts what it is given."""
    if torch.compiler.is_compiling():
        return False  # first: traced code must not depend on sizes
    if not (isinstance(weight, Tensor) and weight.dim() == 2):
        return False
    out_dim, in_dim = weight.shape
    return (
        _onednn_linear is not None
        and isinstance(x, Tensor)
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() * out_dim >= _MIN_PRODUCTS
        and min(x.numel(), in_dim * out_dim) >= _MIN_ROWS * in_dim
        and x.shape[-1:] == (in_dim,)
        and (bias is None or _fits(bias, out_dim))
        and not torch.is_autocast_enabled("cpu")
    )


def _fits(bias: Tensor, out_dim: int) -> bool:
    """Whether it is the bias of a product that oneDNN computes."""
    return (
        isinstance(bias, Tensor)
        and bias.shape == (out_dim,)
        and bias.dtype == torch.float32
        and bias.device.type == "cpu"
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x `[batch, in_dim]` times weight `[out_dim, in_dim]` transposed, any strides."""
    # oneDNN reads a bias without its strides
    bias = None if bias is None else bias.contiguous()
    return _onednn_linear(_packed(x), _packed(weight), bias, "none", [], "")


def _packed(matrix: Tensor) -> Tensor:
    """Return the matrix without gaps by rows or columns: oneDNN is slow on a slice of a wider matrix."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


class _OneDNNLinear(torch.autograd.Function):
    """All three products of a linear layer by oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        return (
            _product(grad, weight.t(), None) if need_x else None,
            _product(grad.t(), x.t(), None) if need_weight else None,
            grad.sum(0) if need_bias else None,
        )


def attention_reference(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Reference implementation of `attention`."""
    return F.scaled_dot_product_attention(query, key, value)


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute softmax(query key^T / sqrt(dim)) value.

    Args:
        query: `[batch, heads, tokens, dim]`.
        key: as query.
        value: as query.

    Returns:
        `[batch, heads, tokens, dim]`, in the dtype of query.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit; PyTorch's own code reads past the end of some.
        TypeError: something that is no tensor.
    """
    check_tensor("query", query, ("batch", "heads", "tokens", "dim"))
    check_tensor("key", key, query.shape, (query.dtype,), query.device)
    check_tensor("value", value, query.shape, (query.dtype,), query.device)
    if not _prefers_products(query):
        return F.scaled_dot_product_attention(query, key, value)
    score = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-1, -2))
    return torch.matmul(torch.softmax(score, -1), value)


def _prefers_products(query: Tensor) -> bool:
    """Whether two products beat the fused attention: bfloat16 training on the CPU."""
    return (
        not torch.compiler.is_compiling()
        and query.device.type == "cpu"
        and query.shape[-1] > 0
        and query.dtype == torch.bfloat16
        and torch.is_grad_enabled()
    )


def image_layout(image: Tensor) -> Tensor:
    """Lay an image channels last and, under autocast, in its dtype: one copy that autocast would make anyway.

    The convolutions after it keep the layout, on CUDA without cuDNN's transpositions around its tensor-core
    kernels, and the tokens `[batch, height * width, channels]` are a view of what they give. With one CPU
    thread the convolutions of ViT and DrQ, forward and backward, take 0.8 to 0.93 of their time in the other
    layout. Networks with GroupNorm do not use it: PyTorch's knows no such layout on CUDA and copies.

    Args:
        image: `[batch, channels, height, width]`.

    Returns:
        The same values, `[batch, channels, height, width]`.

    Raises:
        TypeError: something that is no tensor.
    """
    if not isinstance(image, Tensor):
        raise TypeError(f"image: expected a tensor, got {type(image).__name__}")
    return image.to(product_dtype(image), memory_format=torch.channels_last)


def product_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype that products and convolutions of x have, under autocast where it is on."""
    device = x.device.type
    if x.dtype == torch.float64 or not torch.amp.is_autocast_available(device):
        return x.dtype
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
