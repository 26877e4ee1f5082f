"""A whole MLP, or an ensemble of them, as one op forward and one backward, for the CPU.

Small networks are bound by calls there, not by arithmetic. On CUDA it is the composition of batched products:
a CUDA graph replays its launches without the host, and one kernel for a whole MLP would keep a panel of rows
on one multiprocessor where the products of a layer spread over all of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops._mlp_kernels import MAX_LAYERS, MLPPlan, compute, differentiable
from ibrl_fast.ops.checks import check_apart, check_list, check_out, check_tensor

_EPS = 1e-5
_DTYPES = (torch.float32, torch.float64)


def mlp_reference(
    x: Tensor,
    parameters: list[Tensor],
    *,
    layer_norm: bool,
    extra: Tensor | None = None,
    mask: Tensor | None = None,
    subset: Tensor | None = None,
    tanh: bool = False,
) -> Tensor:
    """Reference implementation: batched products, layer by layer."""
    if parameters[0].dim() == 2:
        parameters = [parameter.unsqueeze(0) for parameter in parameters]
    if subset is not None:
        parameters = [parameter.index_select(0, subset) for parameter in parameters]
    if extra is not None:
        proposals = extra.shape[0]
        x = torch.cat([x.repeat(1, proposals, 1), extra.flatten(0, 1).expand(x.shape[0], -1, -1)], dim=2)
    x = x.expand(parameters[0].shape[0], -1, -1)
    start = 0
    for at in range(0, len(parameters) - 2, 4 if layer_norm else 2):
        weight, bias = parameters[at : at + 2]
        x = torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))
        if layer_norm:
            norm_weight, norm_bias = parameters[at + 2 : at + 4]
            normalised = F.layer_norm(x, x.shape[-1:], eps=_EPS)
            x = torch.addcmul(norm_bias.unsqueeze(1), normalised, norm_weight.unsqueeze(1))
        if mask is not None:
            x = x * mask[:, start : start + x.shape[2]]
            start += x.shape[2]
        x = F.relu(x)
    x = torch.baddbmm(parameters[-1].unsqueeze(1), x, parameters[-2].transpose(1, 2))
    return x.tanh() if tanh else x


def mlp(
    x: Tensor,
    parameters: list[Tensor],
    *,
    layer_norm: bool,
    extra: Tensor | None = None,
    mask: Tensor | None = None,
    subset: Tensor | None = None,
    tanh: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Compute linear, (LayerNorm), (mask), ReLU per hidden layer, a last linear layer, (tanh).

    Differentiable once, with respect to x, extra and parameters. The number of threads changes no bit.

    Args:
        x: float32 or float64 `[num_members or 1, batch, x_dim]`, an input for each member or one for all.
        parameters: of x's dtype; per hidden layer weight `[num_members, out, in]`, bias `[num_members, out]`
            and, with layer_norm, LayerNorm's weight and bias `[num_members, out]`; then the last layer's two.
            A single network's may lack the first dimension. At most 16 layers.
        layer_norm: whether the hidden layers have LayerNorms.
        extra: `[proposals, batch, extra_dim]`, features behind those of x: row p * batch + b of every
            member's input is x[b] and extra[p, b]; None for none.
        mask: `[proposals * batch, sum of the hidden widths]`, what ReLU's inputs are multiplied by (dropout:
            0 or 1 / (1 - p)), the same for every member; None for none.
        subset: `[K]` int64, the members to compute; only where no gradient is asked for. None computes all.
        tanh: whether tanh follows the last layer.
        out: to write into, contiguous and apart from everything else; only where no gradient is asked for.

    Returns:
        `[K or num_members, proposals * batch, out_dim]`.

    Raises:
        ValueError: a wrong shape, dtype, device or number of parameters.
        TypeError: something that is no tensor.
        IndexError: on the CPU, where subset names no member (on CUDA a device assertion).
    """
    check_tensor("x", x, ("members", "batch", "x_dim"), _DTYPES)
    for name, flag in (("layer_norm", layer_norm), ("tanh", tanh)):
        if not isinstance(flag, bool):
            raise TypeError(f"{name}: expected a bool, got {type(flag).__name__}")
    proposals, batch, extra_dim = 1, x.shape[1], 0
    if extra is not None:
        check_tensor("extra", extra, ("proposals", batch, "extra_dim"), (x.dtype,), x.device)
        proposals, extra_dim = extra.shape[0], extra.shape[2]
    plan = _plan(parameters, x, x.shape[2] + extra_dim, layer_norm)
    if subset is not None:
        check_tensor("subset", subset, ("K",), (torch.int64,), x.device)
    members = plan.num_members if subset is None else subset.shape[0]
    if x.shape[0] not in (1, members):
        raise ArgumentError(f"x: expected [1 or {members}, batch, x_dim], got {list(x.shape)}")
    if mask is not None:
        check_tensor("mask", mask, (proposals * batch, sum(plan.widths[1:-1])), (x.dtype,), x.device)
    needs_grad = torch.is_grad_enabled() and (
        x.requires_grad
        or (extra is not None and extra.requires_grad)
        or True in [parameter.requires_grad for parameter in parameters]
    )
    if needs_grad and (subset is not None or out is not None):
        given = "subset" if subset is not None else "out"
        raise ArgumentError(f"{given}: expected None where a gradient is asked for, got a tensor")
    if out is not None:
        check_out("out", out, (members, proposals * batch, plan.widths[-1]), x.dtype, x.device)
        check_apart("out", (out,), (x, extra, mask, subset, *parameters))

    if x.device.type != "cpu":
        y = mlp_reference(
            x, parameters, layer_norm=layer_norm, extra=extra, mask=mask, subset=subset, tanh=tanh
        )
        return y if out is None else out.copy_(y)
    if needs_grad:
        return differentiable(plan, x, extra, mask, parameters, tanh)
    if out is None:
        out = torch.empty((members, proposals * batch, plan.widths[-1]), dtype=x.dtype)
    compute(plan, x, extra, mask, subset, parameters, tanh, out)
    return out


# by what decides whether parameters fit each other: these stay the same from call to call
_PLANS: dict[Any, MLPPlan] = {}
_MAX_PLANS = 256


def _plan(parameters: list[Tensor], x: Tensor, width: int, layer_norm: bool) -> MLPPlan:
    """Return what the parameters say, checked once for parameters that look alike."""
    if torch.compiler.is_compiling():
        return _checked_plan(parameters, x, width, layer_norm)
    try:
        key = layer_norm, *[(p.shape, p.dtype, p.device, p.layout, p.stride()) for p in parameters]
        plan = _PLANS.get(key)
    except (AttributeError, RuntimeError, TypeError):  # no list of dense tensors
        return _checked_plan(parameters, x, width, layer_norm)
    if plan is None or (plan.dtype, plan.device, plan.widths[0]) != (x.dtype, x.device, width):
        plan = _checked_plan(parameters, x, width, layer_norm)
        if len(_PLANS) >= _MAX_PLANS:
            _PLANS.clear()
        _PLANS[key] = plan
    return plan


def _checked_plan(parameters: list[Tensor], x: Tensor, width: int, layer_norm: bool) -> MLPPlan:
    """Check that the parameters fit inputs of a width and each other."""
    parameters, step = check_list("parameters", parameters), 4 if layer_norm else 2
    if len(parameters) < 2 or (len(parameters) - 2) % step or len(parameters) > step * (MAX_LAYERS - 1) + 2:
        raise ArgumentError(
            f"parameters: expected 2 and {step} for each of at most {MAX_LAYERS - 1} hidden layers, "
            f"got {len(parameters)} tensors"
        )
    members = getattr(parameters[0], "shape", ())[:-2]
    if len(members) > 1:
        raise ArgumentError(f"parameters[0]: expected 2 or 3 dimensions, got {list(parameters[0].shape)}")
    for i, parameter in enumerate(parameters):
        is_weight = i % step == 0 or i == len(parameters) - 2
        shape = (*members, "out", width) if is_weight else (*members, width)
        check_tensor(f"parameters[{i}]", parameter, shape, (x.dtype,), x.device)
        width = parameter.shape[-2 if is_weight else -1]
    return MLPPlan(parameters, layer_norm)
