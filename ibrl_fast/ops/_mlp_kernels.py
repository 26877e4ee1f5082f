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


class MLPPlan:
    """What checked parameters say about every call with them.

    Args:
        parameters: of a single network or an ensemble, as `ops.mlp` takes them.
        layer_norm: whether the hidden layers have LayerNorms.
    """

    def __init__(self, parameters: Sequence[Tensor], layer_norm: bool) -> None:
        first, step = parameters[0], 4 if layer_norm else 2
        biases = [*parameters[1:-2:step], parameters[-1]]
        self.layer_norm = layer_norm
        self.dtype, self.device = first.dtype, first.device
        self.num_members = 1 if first.dim() == 2 else first.shape[0]
        self.widths = [first.shape[-1], *(bias.shape[-1] for bias in biases)]
        self.contiguous = all(parameter.is_contiguous() for parameter in parameters)
        # where the gradients begin in one tensor for all, each at a whole vector; then its size
        counts = (-(-parameter.numel() // 16) * 16 for parameter in parameters)
        *self.offsets, self.size = itertools.accumulate(counts, initial=0)
        self.shapes = [parameter.shape for parameter in parameters]
        self.strides = [torch.empty(shape, device="meta").stride() for shape in self.shapes]

    def sizes(self, members: int, rows: int) -> MLPSizes:
        """How many elements a call needs: `mlp_layout` in csrc/kernels/mlp.h."""
        widths, lanes = self.widths, 16 if self.dtype == torch.float64 else 32
        hidden, panels = sum(widths[1:-1]), -(-rows // lanes)
        # parts of the work, each with scratch of its own, that threads take; traced code does not see threads
        threads = 1 if torch.compiler.is_compiling() else torch.get_num_threads()
        slots = max(1, min(threads, members * panels))
        saved = hidden + len(widths) - 2 if self.layer_norm else hidden
        backward = panels * ((lanes + 3) * sum(widths[1:]) + lanes * widths[0])
        return MLPSizes(
            slots,
            members * panels * lanes * saved,
            slots * 4 * max(widths) * lanes,
            backward + slots * lanes * max(*widths, rows),
        )


class MLPSizes(NamedTuple):
    """Parts of a call's work, and the elements that it needs."""

    slots: int
    saved: int
    forward: int
    backward: int


def compute(
    plan: MLPPlan,
    x: Tensor,
    extra: Tensor | None,
    mask: Tensor | None,
    subset: Tensor | None,
    parameters: list[Tensor],
    tanh: bool,
    out: Tensor,
) -> None:
    """Write the values into `out` `[members, rows, out_dim]`, without gradients; all is checked."""
    sizes = plan.sizes(out.shape[0], out.shape[1])
    if subset is not None:
        subset = subset.contiguous()
    _mlp(
        _rows(x), _rows_or_none(extra), _rows_or_none(mask), subset, _dense(plan, parameters), plan.widths,
        plan.layer_norm, tanh, sizes.slots, out, None, torch.empty(sizes.forward, dtype=x.dtype),
    )  # fmt: skip


def differentiable(
    plan: MLPPlan,
    x: Tensor,
    extra: Tensor | None,
    mask: Tensor | None,
    parameters: list[Tensor],
    tanh: bool,
) -> Tensor:
    """Return the values `[members, rows, out_dim]`; the arguments are checked."""
    result: Tensor = _MLP.apply(plan, x, extra, mask, tanh, *parameters)
    return result


def _rows(tensor: Tensor) -> Tensor:
    """Return a tensor whose last dimension has no gaps."""
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def _rows_or_none(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else _rows(tensor)


def _dense(plan: MLPPlan, parameters: Sequence[Tensor]) -> list[Tensor]:
    if plan.contiguous:
        return list(parameters)
    return [parameter.contiguous() for parameter in parameters]


class _MLP(torch.autograd.Function):
    """Saves its arguments and, per hidden layer, LayerNorm's normalised values or the activations."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: MLPPlan,
        x: Tensor,
        extra: Tensor | None,
        mask: Tensor | None,
        tanh: bool,
        *parameters: Tensor,
    ) -> Tensor:
        rows = x.shape[1] * (1 if extra is None else extra.shape[0])
        sizes = plan.sizes(plan.num_members, rows)
        weights = _dense(plan, parameters)
        x, extra, mask = _rows(x), _rows_or_none(extra), _rows_or_none(mask)
        out = torch.empty((plan.num_members, rows, plan.widths[-1]), dtype=x.dtype)
        saved = torch.empty(sizes.saved, dtype=x.dtype)
        _mlp(
            x, extra, mask, None, weights, plan.widths, plan.layer_norm, tanh, sizes.slots, out, saved,
            torch.empty(sizes.forward, dtype=x.dtype),
        )  # fmt: skip
        ctx.save_for_backward(x, extra, mask, out, saved, *weights)
        ctx.plan, ctx.tanh = plan, tanh
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # a second derivative is refused; without a graph to build, that costs nothing
        formula = once_differentiable(_backward) if torch.is_grad_enabled() else _backward
        grads: tuple[Tensor | None, ...] = formula(ctx, grad)
        return grads


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    plan: MLPPlan = ctx.plan
    x, extra, mask, out, saved, *weights = ctx.saved_tensors
    _, wants_x, wants_extra, _, _, *wants_weights = ctx.needs_input_grad
    sizes = plan.sizes(out.shape[0], out.shape[1])
    # without rows nothing is added up for the inputs
    make = torch.zeros if 0 in out.shape[:2] else torch.empty
    grad_x = make(x.shape, dtype=x.dtype) if wants_x else None
    grad_extra = make(extra.shape, dtype=x.dtype) if wants_extra else None
    flat = torch.empty(plan.size, dtype=x.dtype) if True in wants_weights else None
    _mlp_backward(
        x, extra, mask, weights, plan.widths, plan.layer_norm, ctx.tanh, sizes.slots, out, saved,
        grad.contiguous(), grad_x, grad_extra, flat, plan.offsets,
        torch.empty(sizes.backward, dtype=x.dtype),
    )  # fmt: skip
    grads: list[Tensor | None] = [None] * len(weights)
    if flat is not None:
        grads = [*map(flat.as_strided, plan.shapes, plan.strides, plan.offsets)]
    return None, grad_x, grad_extra, None, None, *grads


def _columns(addresses: list[int], layer_norm: bool) -> tuple[list[int], ...]:
    """Sort addresses, or those of gradients: weights, biases, LayerNorms' weights and biases (0 without)."""
    step = 4 if layer_norm else 2
    weights, biases = ([*addresses[place:-2:step], addresses[place - 2]] for place in (0, 1))
    if not layer_norm:
        none = [0] * len(weights)
        return weights, biases, none, none
    return weights, biases, [*addresses[2:-2:step], 0], [*addresses[3:-2:step], 0]


def _input_fields(
    x: Tensor,
    extra: Tensor | None,
    mask: Tensor | None,
    parameters: list[Tensor],
    widths: list[int],
    layer_norm: bool,
    tanh: bool,
    slots: int,
    out: Tensor,
    saved: Tensor | None,
    scratch: Tensor,
) -> _core.MlpInputsFields:
    inputs, batch, x_dim = x.shape
    addresses = [parameter.data_ptr() for parameter in parameters]
    weight, bias, norm_weight, norm_bias = _columns(addresses, layer_norm)
    return {
        "weight": weight,
        "bias": bias,
        "norm_weight": norm_weight,
        "norm_bias": norm_bias,
        "in_dim": widths[:-1],
        "out_dim": widths[1:],
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
    return {
        **_input_fields(x, extra, mask, parameters, *rest),
        "subset": address_of(subset),
        "num_members": _members(parameters),
        "eps": _EPS,
    }


def _members(parameters: list[Tensor]) -> int:
    return 1 if parameters[0].dim() == 2 else parameters[0].shape[0]


def _explain(
    bad: int, x: Tensor, extra: object, mask: object, subset: Tensor, parameters: list[Tensor], *_: object
) -> Exception:
    last = _members(parameters) - 1
    return IndexError(f"subset: expected members 0 to {last}, got {int(subset[bad])}")


def _backward_fields(
    x: Tensor,
    extra: Tensor | None,
    mask: Tensor | None,
    parameters: list[Tensor],
    widths: list[int],
    layer_norm: bool,
    tanh: bool,
    slots: int,
    out: Tensor,
    saved: Tensor,
    grad_out: Tensor,
    grad_x: Tensor | None,
    grad_extra: Tensor | None,
    gradients: Tensor | None,
    offsets: list[int],
    scratch: Tensor,
) -> _core.MlpBackwardFields:
    columns: tuple[list[int], ...] = ([], [], [], [])
    if gradients is not None:
        begin, size = gradients.data_ptr(), gradients.element_size()
        columns = _columns([begin + size * offset for offset in offsets], layer_norm)
    return {
        **_input_fields(x, extra, mask, parameters, widths, layer_norm, tanh, slots, out, saved, scratch),
        "grad_out": grad_out.data_ptr(),
        "grad_x": address_of(grad_x),
        "grad_extra": address_of(grad_extra),
        "grad_weight": columns[0],
        "grad_bias": columns[1],
        "grad_norm_weight": columns[2],
        "grad_norm_bias": columns[3],
    }


_INPUTS = "Tensor x, Tensor? extra, Tensor? mask, "
_NETWORK = "Tensor[] parameters, int[] widths, bool layer_norm, bool tanh, int slots"
_mlp = register(
    "mlp",
    f"{_INPUTS}Tensor? subset, {_NETWORK}, Tensor(a!) out, Tensor(b!)? saved, Tensor(c!) scratch",
    _fields,
    explain=_explain,
)
_mlp_backward = register(
    "mlp_backward",
    f"{_INPUTS}{_NETWORK}, Tensor out, Tensor saved, Tensor grad_out, "
    "Tensor(a!)? grad_x, Tensor(b!)? grad_extra, Tensor(c!)? gradients, int[] offsets, "
    "Tensor(d!) scratch",
    _backward_fields,
)
