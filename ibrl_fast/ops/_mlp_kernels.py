"""The MLP's kernels: sizes, fields, registration and the autograd formula; ops/mlp.py is what to call."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ibrl_fast import _core
from ibrl_fast.ops._registry import address_of, register

_EPS = 1e-5
# kMaxMlpLayers in csrc/kernels/mlp.h
MAX_LAYERS = 16


class MLPShape(NamedTuple):
    """What the parameters say: how many members, features from the input to the output."""

    num_members: int
    widths: tuple[int, ...]


def shape_of(parameters: Sequence[Tensor], layer_norm: bool) -> MLPShape:
    """Read a checked list of parameters."""
    first, step = parameters[0], 4 if layer_norm else 2
    biases = [*parameters[1:-2:step], parameters[-1]]
    widths = (first.shape[-1], *(bias.shape[-1] for bias in biases))
    return MLPShape(1 if first.dim() == 2 else first.shape[0], widths)


def _rows(tensor: Tensor | None) -> Tensor | None:
    """A tensor without its graph, whose last dimension has no gaps."""
    if tensor is None:
        return None
    tensor = tensor.detach()
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


class _Sizes:
    """How many elements a call needs: `mlp_layout` in csrc/kernels/mlp.h."""

    def __init__(self, x: Tensor, out_shape: Sequence[int], shape: MLPShape, layer_norm: bool) -> None:
        members, rows, _ = out_shape
        widths, lanes = shape.widths, 16 if x.dtype == torch.float64 else 32
        panels = -(-rows // lanes)
        # parts of the work, each with scratch of its own, that threads take
        self.slots = max(1, min(torch.get_num_threads(), members * panels))
        hidden, parts = widths[1:-1], 2 if layer_norm else 1
        self.saved = members * panels * lanes * (parts * sum(hidden) + (len(hidden) if layer_norm else 0))
        self.forward = self.slots * 4 * max(widths) * lanes
        self.backward = panels * ((lanes + 3) * sum(widths[1:]) + lanes * widths[0])
        self.backward += self.slots * lanes * max(*widths, rows)


def compute(
    x: Tensor,
    extra: Tensor | None,
    mask: Tensor | None,
    subset: Tensor | None,
    parameters: Sequence[Tensor],
    layer_norm: bool,
    tanh: bool,
    out: Tensor,
) -> None:
    """Write the values into `out` `[members, rows, out_dim]`; the arguments are checked."""
    sizes = _Sizes(x, out.shape, shape_of(parameters, layer_norm), layer_norm)
    given = [_rows(tensor) for tensor in (x, extra, mask)]
    subset = None if subset is None else subset.contiguous()
    weights = [parameter.detach().contiguous() for parameter in parameters]
    scratch = x.new_empty(sizes.forward)
    _mlp(*given, subset, weights, layer_norm, tanh, sizes.slots, out, None, scratch)


def differentiable(
    x: Tensor,
    extra: Tensor | None,
    mask: Tensor | None,
    layer_norm: bool,
    tanh: bool,
    parameters: Sequence[Tensor],
) -> Tensor:
    """Return the values `[members, rows, out_dim]`; the arguments are checked."""
    result: Tensor = _MLP.apply(x, extra, mask, layer_norm, tanh, *parameters)
    return result


class _MLP(torch.autograd.Function):
    """Saves its arguments, the activations and LayerNorm's normalised values."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        extra: Tensor | None,
        mask: Tensor | None,
        layer_norm: bool,
        tanh: bool,
        *parameters: Tensor,
    ) -> Tensor:
        shape = shape_of(parameters, layer_norm)
        out_shape = (
            shape.num_members,
            x.shape[1] * (1 if extra is None else extra.shape[0]),
            shape.widths[-1],
        )
        sizes = _Sizes(x, out_shape, shape, layer_norm)
        x, extra, mask = (_rows(tensor) for tensor in (x, extra, mask))
        weights = [parameter.contiguous() for parameter in parameters]
        out, saved, scratch = x.new_empty(out_shape), x.new_empty(sizes.saved), x.new_empty(sizes.forward)
        _mlp(x, extra, mask, None, weights, layer_norm, tanh, sizes.slots, out, saved, scratch)
        ctx.save_for_backward(x, extra, mask, out, saved, *weights)
        ctx.layer_norm, ctx.tanh = layer_norm, tanh
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, extra, mask, out, saved, *weights = ctx.saved_tensors
        wants_x, wants_extra, wants_weights = (*ctx.needs_input_grad[:2], any(ctx.needs_input_grad[5:]))
        sizes = _Sizes(x, out.shape, shape_of(weights, ctx.layer_norm), ctx.layer_norm)
        grad_x = torch.empty(x.shape, dtype=x.dtype) if wants_x else None
        grad_extra = torch.empty(extra.shape, dtype=x.dtype) if wants_extra else None
        flat, offsets = None, _offsets(weights)
        if wants_weights:
            flat = x.new_empty(offsets[-1])
        scratch = x.new_empty(sizes.backward)
        _mlp_backward(
            x, extra, mask, weights, ctx.layer_norm, ctx.tanh, sizes.slots, out, saved,
            grad.contiguous(), grad_x, grad_extra, flat, scratch,
        )  # fmt: skip
        grads = [None] * len(weights)
        if flat is not None:
            grads = [
                flat.as_strided(weight.shape, weight.stride(), offset)
                for weight, offset in zip(weights, offsets)
            ]
        return grad_x, grad_extra, None, None, None, *grads


def _offsets(weights: list[Tensor]) -> list[int]:
    """Where the gradients of weights begin in one tensor for all, each at a whole vector; then its size."""
    return list(itertools.accumulate((-(-weight.numel() // 16) * 16 for weight in weights), initial=0))


_WEIGHTS = ("weight", "bias", "norm_weight", "norm_bias")
_GRADIENTS = tuple(f"grad_{name}" for name in _WEIGHTS)


def _columns(addresses: list[int], layer_norm: bool, names: Sequence[str]) -> dict[str, list[int]]:
    """Sort addresses of parameters, or of their gradients, by what they are."""
    step = 4 if layer_norm else 2
    columns = [[*addresses[place:-2:step], addresses[place - 2]] for place in (0, 1)]
    if layer_norm:
        columns += [[*addresses[place:-2:step], 0] for place in (2, 3)]
    else:
        columns += [[0] * len(columns[0])] * 2
    return dict(zip(names, columns))


def _input_fields(
    x: Tensor,
    extra: Tensor | None,
    mask: Tensor | None,
    parameters: list[Tensor],
    layer_norm: bool,
    tanh: bool,
    slots: int,
    out: Tensor,
    saved: Tensor | None,
    scratch: Tensor,
) -> dict[str, Any]:
    inputs, batch, x_dim = x.shape
    widths = shape_of(parameters, layer_norm).widths
    return {
        **_columns([parameter.data_ptr() for parameter in parameters], layer_norm, _WEIGHTS),
        "in_dim": list(widths[:-1]),
        "out_dim": list(widths[1:]),
        "members": out.shape[0],
        "inputs": inputs,
        "proposals": 1 if extra is None else extra.shape[0],
        "batch": batch,
        "x_dim": x_dim,
        "extra_dim": 0 if extra is None else extra.shape[2],
        "slots": slots,
        "is_float64": x.dtype == torch.float64,
        "layer_norm": layer_norm,
        "tanh": tanh,
        "x": x.data_ptr(),
        "extra": address_of(extra),
        "mask": address_of(mask),
        "x_strides": x.stride()[:2],
        "extra_strides": (0, 0) if extra is None else extra.stride()[:2],
        "mask_stride": 0 if mask is None else mask.stride(0),
        "out": out.data_ptr(),
        "saved": address_of(saved),
        "scratch": scratch.data_ptr(),
        "saved_size": 0 if saved is None else saved.numel(),
        "scratch_size": scratch.numel(),
    }


def _fields(
    x: Tensor,
    extra: Tensor | None,
    mask: Tensor | None,
    subset: Tensor | None,
    parameters: list[Tensor],
    *rest: Any,
) -> _core.MlpFields:
    return {  # type: ignore[typeddict-item, return-value]
        **_input_fields(x, extra, mask, parameters, *rest),
        "subset": address_of(subset),
        "num_members": shape_of(parameters, rest[0]).num_members,
        "eps": _EPS,
    }


def _explain(
    bad: int,
    x: Tensor,
    extra: object,
    mask: object,
    subset: Tensor,
    parameters: list[Tensor],
    layer_norm: bool,
    *_: object,
) -> Exception:
    members = shape_of(parameters, layer_norm).num_members
    return IndexError(f"subset: expected members 0 to {members - 1}, got {int(subset[bad])}")


def _backward_fields(
    x: Tensor,
    extra: Tensor | None,
    mask: Tensor | None,
    parameters: list[Tensor],
    layer_norm: bool,
    tanh: bool,
    slots: int,
    out: Tensor,
    saved: Tensor,
    grad_out: Tensor,
    grad_x: Tensor | None,
    grad_extra: Tensor | None,
    gradients: Tensor | None,
    scratch: Tensor,
) -> _core.MlpBackwardFields:
    columns: dict[str, list[int]] = {name: [] for name in _GRADIENTS}
    if gradients is not None:
        begin, size = gradients.data_ptr(), gradients.element_size()
        addresses = [begin + size * offset for offset in _offsets(parameters)[:-1]]
        columns = _columns(addresses, layer_norm, _GRADIENTS)
    return {  # type: ignore[typeddict-item, return-value]
        **_input_fields(x, extra, mask, parameters, layer_norm, tanh, slots, out, saved, scratch),
        "grad_out": grad_out.data_ptr(),
        "grad_x": address_of(grad_x),
        "grad_extra": address_of(grad_extra),
        **columns,
    }


_INPUTS = "Tensor x, Tensor? extra, Tensor? mask, "
_mlp = register(
    "mlp",
    f"{_INPUTS}Tensor? subset, Tensor[] parameters, bool layer_norm, bool tanh, int slots, Tensor(a!) out, "
    "Tensor(b!)? saved, Tensor(c!) scratch",
    _fields,
    explain=_explain,
)
_mlp_backward = register(
    "mlp_backward",
    f"{_INPUTS}Tensor[] parameters, bool layer_norm, bool tanh, int slots, Tensor out, Tensor saved, "
    "Tensor grad_out, Tensor(a!)? grad_x, Tensor(b!)? grad_extra, Tensor(c!)? gradients, Tensor(d!) scratch",
    _backward_fields,
)
