"""Moving averages of target networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ibrl_fast.errors import ArgumentError
from ibrl_fast.ops._registry import check_apart, check_list, check_number, check_tensor, is_dense, register

_DTYPES = (torch.float32, torch.float64)


def polyak_update_reference(targets: Sequence[Tensor], online: Sequence[Tensor], rho: float) -> None:
    """The same in torch, tensor by tensor."""
    with torch.no_grad():
        for target, source in zip(targets, online):
            target.copy_(rho * target + (1.0 - rho) * source)


def polyak_update(targets: Sequence[Tensor], online: Sequence[Tensor], rho: float) -> None:
    """``target = rho * target + (1 - rho) * online`` in place for every pair, in one pass over all of them.

    Args:
        targets: float32 or float64 tensors, all of one dtype and on one device, each dense in memory and
            apart from everything else.
        online: tensors of the same shapes, strides, dtype and device.
        rho: share of the target that stays, in [0, 1].

    Raises:
        ValueError: on lists of unequal length, or a wrong shape, strides, dtype, device or rho, or targets
            that overlap something.
        TypeError: on something that is no tensor or number.
    """
    targets, online = check_list("targets", targets), check_list("online", online)
    rho = check_number("rho", rho)
    if len(targets) != len(online):
        raise ArgumentError(
            f"online: expected {len(targets)} tensors, one for each target, got {len(online)}"
        )
    if not 0.0 <= rho <= 1.0:
        raise ArgumentError(f"rho: expected a value in [0, 1], got {rho}")
    if not targets:
        return
    check_tensor("targets[0]", targets[0], getattr(targets[0], "shape", ()), _DTYPES)
    dtype, device = targets[0].dtype, targets[0].device
    for i, (target, source) in enumerate(zip(targets, online)):
        check_tensor(f"targets[{i}]", target, getattr(target, "shape", ()), (dtype,), device)
        check_tensor(f"online[{i}]", source, target.shape, (dtype,), device)
        if target.is_contiguous() and source.is_contiguous():
            continue
        if not is_dense(target):
            strides = tuple(target.stride())
            raise ArgumentError(f"targets[{i}]: expected a tensor dense in memory, got strides {strides}")
        if target.stride() != source.stride():
            strides = tuple(target.stride())
            raise ArgumentError(
                f"online[{i}]: expected the dense strides {strides} of its target, "
                f"got {tuple(source.stride())}"
            )
    check_apart("targets", targets, online)
    with torch.no_grad():
        _polyak_update(targets, online, rho)


def _arguments(targets: list[Tensor], online: list[Tensor], rho: float) -> tuple[Any, ...]:
    return (
        [target.data_ptr() for target in targets],
        [source.data_ptr() for source in online],
        [target.numel() for target in targets],
        rho,
        targets[0].dtype == torch.float64,
    )


_polyak_update = register("polyak_update", "Tensor(a!)[] targets, Tensor[] online, float rho", _arguments)
