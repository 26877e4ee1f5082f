"""Scaled dot-product attention by the fastest code at hand.

PyTorch's fused attention has a slow bfloat16 backward on CPUs without bfloat16 tiles: at 121 tokens of 32
features two products and a softmax take a quarter of its time. Everything else takes PyTorch's own way.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ibrl_fast.ops._registry import check_tensor


def attention_reference(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same in PyTorch's own words."""
    return F.scaled_dot_product_attention(query, key, value)


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query key^T / sqrt(dim)) value.

    Args:
        query: `[batch, heads, tokens, dim]`.
        key: as query.
        value: as query.

    Returns:
        As query.

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
