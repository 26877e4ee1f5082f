"""Adam on a group of parameters in flat storage, with the moving average of a target network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ibrl_fast import _core
from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops._registry import address_of, register
from ibrl_fast.ops.checks import check_integer, check_list, check_number, check_out, check_tensor, is_dense

_DTYPES = (torch.float32, torch.float64)


def adam_update_reference(
    values: Tensor,
    gradients: Sequence[Tensor],
    offsets: Sequence[int],
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: Tensor,
    *,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    target: Tensor | None = None,
    rho: float = 1.0,
) -> None:
    """Reference implementation: tensor by tensor."""
    step += 1
    correction1, correction2 = (1.0 - beta ** step.double() for beta in betas)
    for gradient, offset in zip(gradients, offsets):
        part = slice(offset, offset + gradient.numel())
        # the gradient's elements in the order of its memory
        g = gradient.as_strided((gradient.numel(),), (1,))
        m, v = exp_avg[part], exp_avg_sq[part]
        m.copy_(betas[0] * m + (1.0 - betas[0]) * g)
        v.copy_(betas[1] * v + (1.0 - betas[1]) * g * g)
        denominator = v.sqrt() * (1.0 / correction2.sqrt()).to(v.dtype) + eps
        values[part] -= (learning_rate / correction1).to(m.dtype) * m / denominator
        if target is not None and offset >= len(values) - len(target):
            average = target[offset - len(values) + len(target) :][: len(g)]
            average.copy_(rho * average + (1.0 - rho) * values[part])


def adam_update(
    values: Tensor,
    gradients: Sequence[Tensor],
    offsets: Sequence[int],
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: Tensor,
    *,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    target: Tensor | None = None,
    rho: float = 1.0,
) -> None:
    """Do one step of Adam in place, in one pass over all gradients (Kingma and Ba 2015, algorithm 1).

    On CUDA this is one launch for every 120 tensors; nothing is read on the host.

    Args:
        values: `[size]` float32 or float64, the parameters of all tensors.
        gradients: one for each tensor, dense in memory, with the strides of its parameter; dtype and device
            of the values.
        offsets: where each tensor begins in the flat tensors, in ascending order; what no tensor covers
            is not touched.
        exp_avg: `[size]`, moving average of the gradients, zero at first.
        exp_avg_sq: `[size]`, moving average of their squares, zero at first.
        step: `[1]` int64 on the same device, steps done so far (below 2**32 - 1; on CUDA a device assertion);
            one more afterwards.
        learning_rate: size of a step.
        betas: what stays of the two moving averages, each in [0, 1).
        eps: added to the denominator.
        target: `[tail]`, moving average of the last `tail` values, which is updated with the new values:
            `target = rho * target + (1 - rho) * values`; None for none.
        rho: share of the target that stays, in [0, 1].

    Raises:
        TypeError: a gradient that is missing, or something else that is no tensor or number.
        ValueError: a wrong shape, strides, dtype, device or number, gradients that do not fit the values, or
            one of the flat tensors that overlaps another tensor.
    """
    check_tensor("values", values, ("size",), _DTYPES)
    size, dtype, device = values.shape[0], values.dtype, values.device
    for name, flat in (("values", values), ("exp_avg", exp_avg), ("exp_avg_sq", exp_avg_sq)):
        check_out(name, flat, (size,), dtype, device)
    check_tensor("step", step, (1,), (torch.int64,), device)
    betas = tuple(check_list("betas", betas, 2))
    for i, beta in enumerate(betas):
        if not 0.0 <= check_number(f"betas[{i}]", beta) < 1.0:
            raise ArgumentError(f"betas[{i}]: expected a value in [0, 1), got {beta}")
    learning_rate, eps = check_number("learning_rate", learning_rate), check_number("eps", eps)
    if not 0.0 <= check_number("rho", rho) <= 1.0:
        raise ArgumentError(f"rho: expected a value in [0, 1], got {rho}")
    gradients, offsets = check_list("gradients", gradients), check_list("offsets", offsets)
    if len(offsets) != len(gradients):
        raise ArgumentError(f"offsets: expected {len(gradients)}, one for each gradient, got {len(offsets)}")
    for i, gradient in enumerate(gradients):
        if type(offsets[i]) is not int:
            offsets[i] = check_integer(f"offsets[{i}]", offsets[i], 0)
        # the ordinary gradient, without a name made for nothing
        if (
            isinstance(gradient, Tensor)
            and gradient.layout is torch.strided
            and gradient.dtype is dtype
            and gradient.device == device
            and gradient.is_contiguous()
        ):
            continue
        check_tensor(f"gradients[{i}]", gradient, getattr(gradient, "shape", ()), (dtype,), device)
        if not is_dense(gradient):
            strides = tuple(gradient.stride())
            raise ArgumentError(f"gradients[{i}]: expected a tensor dense in memory, got strides {strides}")

    # gradients lie one behind the other in the values, and none is half in the target
    begins = [0, *offsets, size]
    ends = [0, *(offset + gradient.numel() for offset, gradient in zip(offsets, gradients)), size]
    if any(end > begin for end, begin in zip(ends, begins[1:])):
        raise ArgumentError(
            f"offsets: expected ascending offsets of gradients that fit {size} values without overlap, "
            f"got {list(offsets)}"
        )
    if target is not None:
        check_tensor("target", target, ("tail",), (dtype,), device)
        check_out("target", target, (min(len(target), size),), dtype, device)
        first = size - len(target)
        if any(begin < first < end for begin, end in zip(begins[1:-1], ends[1:-1])):
            raise ArgumentError(
                f"target: expected to begin where a gradient begins, got the last {len(target)}"
            )
    with torch.no_grad():
        _adam_update(
            values, exp_avg, exp_avg_sq, step, target, gradients, offsets, learning_rate, *betas, eps, rho,
        )  # fmt: skip


def _fields(
    values: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: Tensor,
    target: Tensor | None,
    gradients: list[Tensor],
    offsets: list[int],
    learning_rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    rho: float,
) -> _core.AdamUpdateFields:
    size = len(values)
    return {
        "values": values.data_ptr(),
        "exp_avg": exp_avg.data_ptr(),
        "exp_avg_sq": exp_avg_sq.data_ptr(),
        "step": step.data_ptr(),
        "gradient": [gradient.data_ptr() for gradient in gradients],
        "offset": offsets,
        "count": [gradient.numel() for gradient in gradients],
        "target": address_of(target),
        "target_begin": size - (0 if target is None else len(target)),
        "size": size,
        "learning_rate": learning_rate,
        "beta1": beta1,
        "beta2": beta2,
        "eps": eps,
        "rho": rho,
        "is_float64": values.dtype == torch.float64,
    }


def _explain(
    bad: int, values: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, step: Tensor, *_: Any
) -> Exception:
    return ArgumentError(f"step: expected 0 to {2**32 - 2}, got {int(step)}")


_adam_update = register(
    "adam_update",
    "Tensor(a!) values, Tensor(b!) exp_avg, Tensor(c!) exp_avg_sq, Tensor(d!) step, Tensor(e!)? target, "
    "Tensor[] gradients, int[] offsets, float learning_rate, float beta1, float beta2, float eps, float rho",
    _fields,
    explain=_explain,
)
