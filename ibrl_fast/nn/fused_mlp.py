"""Where an MLP runs as one op (ops/mlp.py), and the way there from its modules."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn

from ibrl_fast import ops
from ibrl_fast.ops._mlp_kernels import MAX_LAYERS

# Measured (docs/performance.md): up to this width the op wins at every batch, forward and backward; above,
# its backward loses to oneDNN's large products, and its forward wins where many rows share a weight.
MAX_WIDTH = 512
MIN_ROWS_OF_WIDE = 32
_DTYPES = (torch.float32, torch.float64)


def prefers_fused_mlp(x: Tensor, rows: int, widths: Sequence[int]) -> bool:
    """Return whether an MLP should be one op: by sizes alone, so that results do not depend on the machine.

    Args:
        x: the network's input.
        rows: how many inputs each network has, proposals counted.
        widths: features from the input to the output.
    """
    if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype not in _DTYPES:
        return False
    # the op has no bfloat16 products
    if len(widths) > MAX_LAYERS + 1 or torch.is_autocast_enabled("cpu"):
        return False
    return max(widths) <= MAX_WIDTH or (rows >= MIN_ROWS_OF_WIDE and not torch.is_grad_enabled())


def fused_mlp(
    x: Tensor,
    hidden: nn.ModuleList,
    norms: nn.ModuleList,
    output: nn.Module,
    *,
    extra: Tensor | None = None,
    mask: Tensor | None = None,
    subset: Tensor | None = None,
    tanh: bool = False,
) -> Tensor:
    """Compute an MLP or an ensemble from its modules by `ops.mlp`.

    Args:
        x: `[num_members or 1, batch, x_dim]`.
        hidden: linear layers.
        norms: what follows each of them: LayerNorms, or modules without parameters.
        output: the last linear layer.
        extra: as `ops.mlp`'s, like the next three.
        mask: what ReLU's inputs are multiplied by.
        subset: the members to compute.
        tanh: whether tanh follows.

    Returns:
        `[K or num_members, proposals * batch, out_dim]` of x's dtype.
    """
    # module by module: Module.parameters takes longer than a small layer
    parameters: list[Tensor] = []
    for module in (*chain(*zip(hidden._modules.values(), norms._modules.values())), output):
        parameters += cast("dict[str, Tensor]", module._parameters).values()
    layer_norm = len(parameters) > 2 * len(hidden) + 2
    if extra is not None and extra.dtype != x.dtype:
        extra = extra.to(x.dtype)
    return ops.mlp(x, parameters, layer_norm=layer_norm, extra=extra, mask=mask, subset=subset, tanh=tanh)
