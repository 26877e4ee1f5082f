"""Kernel launches and bytes of the critics on CUDA, the plain formulas against the fused ways; runs nothing.

    python bench/count_launches.py

Every operator that PyTorch dispatches and that is no view counts as one launch that reads its inputs and
writes its outputs once; one with several kernels inside (a sum over blocks, cuBLAS's split products) counts
once too. Tensors are fake, at the paper's sizes and in bfloat16 autocast, with LayerNorm in float32 as on
CUDA. Prints the table of docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ibrl_fast.nn.ensemble_mlp import mlp_in_batches
from ibrl_fast.nn.reduce_tokens import reduce_at_once, reduce_tokens_reference
from ibrl_fast.ops.mlp import mlp_reference

BATCH, HIDDEN, TOKENS, CHANNELS = 256, 1024, 121, 128
_layer_norm = F.layer_norm


class Launches(TorchDispatchMode):
    """Counts dispatched operators and the bytes of their tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.bytes = 0, 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        held = {leaf.untyped_storage()._cdata for leaf in inputs}
        is_new = any(leaf.untyped_storage()._cdata not in held for leaf in outputs)
        empty = function.__name__.startswith(("empty", "new_empty", "detach"))
        if not empty and (is_new or function._schema.is_mutable):
            self.count += 1
            self.bytes += sum(leaf.numel() * leaf.element_size() for leaf in (*inputs, *outputs))
        return result


def float32_layer_norm(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """What CUDA's autocast makes of a LayerNorm."""
    return _layer_norm(x.float(), *args, **kwargs)


def mlp_parameters(members: int, widths: Sequence[int]) -> list[Tensor]:
    """Weights of an ensemble with LayerNorms."""
    parameters = []
    for in_dim, out_dim in pairwise(widths[:-1]):
        parameters += [
            torch.rand(members, out_dim, in_dim),
            *(torch.rand(members, out_dim) for _ in range(3)),
        ]
    return [*parameters, torch.rand(members, widths[-1], widths[-2]), torch.rand(members, widths[-1])]


def count(function: Callable[..., Tensor], x: Tensor, others: list[Tensor], learn: str) -> Launches:
    """One pass; `learn` says what learns: `weights`, `action` (the weights are frozen) or `nothing`."""
    x = x.requires_grad_(learn == "action")
    for tensor in (x, *others):
        tensor.grad = None
    for tensor in others:
        tensor.requires_grad_(learn == "weights")
    with patch.object(F, "layer_norm", float32_layer_norm), Launches() as launches:
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.set_grad_enabled(learn != "nothing"):
            result = function(x, others)
        if learn != "nothing":
            result.backward(torch.empty_like(result))
    return launches


def state(way: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The state critics' MLP."""
    return lambda x, parameters: way(x, parameters, layer_norm=True)


def pixel(way: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The pixel critics' reduction; x is what the action adds."""
    return lambda x, others: way(others[0], x.bfloat16(), *others[1:])


def main() -> None:
    """Prints the table."""
    print("| pass | launches, plain | fused | MB, plain | fused |")
    print("|---|---|---|---|---|")
    with FakeTensorMode():
        for name, learn, proposals in (
            ("critic update", "weights", 1),
            ("targets, 2 proposals", "nothing", 2),
            ("actor update", "action", 1),
        ):
            rows = proposals * BATCH
            ensemble = torch.rand(1, rows, 76), mlp_parameters(5, [76, HIDDEN, HIDDEN, HIDDEN, 1])
            tokens, patch_weight = torch.rand(BATCH, TOKENS, CHANNELS), torch.rand(2, HIDDEN, TOKENS)
            affine = [torch.rand(2, HIDDEN), torch.rand(2, HIDDEN), torch.rand(2, CHANNELS, HIDDEN)]
            head = torch.rand(2, proposals, BATCH, HIDDEN), [tokens, patch_weight, *affine]
            for what, plain, fused, given in (
                ("state critics, E=5", state(mlp_reference), state(mlp_in_batches), ensemble),
                ("pixel reduction, E=2", pixel(reduce_tokens_reference), pixel(reduce_at_once), head),
            ):
                ways = [count(way, *given, learn) for way in (plain, fused)]
                cells = [str(way.count) for way in ways]
                cells += [f"{value / 1e6:.0f}" for value in (ways[0].bytes, ways[1].bytes)]
                print(f"| {what}, {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
