"""The precision of matrix products and convolutions, for as long as an update or a forward pass takes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, cast

import torch

from ibrl_fast.agents.config import PrecisionName, check_precision
from ibrl_fast.errors import ArgumentError

# what keeps a precision for products and for convolutions
_BACKENDS: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]

Method = TypeVar("Method", bound=Callable[..., Any])


class Precision:
    """One precision on one device; weights, losses and optimiser stay in full precision whatever it is.

    Args:
        name: `fp32` rounds nothing, `tf32` rounds the inputs of products to 10 bits of mantissa, `bf16` takes
            them in bfloat16.
        device: where the products are computed.

    Raises:
        ValueError: tf32 on a device that is no CUDA device.
    """

    def __init__(self, name: PrecisionName, device: torch.device) -> None:
        check_precision(name)
        if name == "tf32" and device.type != "cuda":
            raise ArgumentError(
                f"precision: expected fp32 or bf16 on {device}, got tf32 (CUDA devices alone have it)"
            )
        self.name = name
        self._device_type = device.type

    def autocast(self) -> AbstractContextManager[Any]:
        """Around a forward pass: its products in bfloat16, if that is the precision.

        Casts of weights are not kept: a CUDA graph must not read one that another graph or no graph wrote.
        """
        if self.name != "bf16":
            return nullcontext()
        return torch.autocast(self._device_type, dtype=torch.bfloat16, cache_enabled=False)

    def products(self) -> AbstractContextManager[None]:
        """Around forward and backward: what float32 products and convolutions may round to.

        PyTorch keeps this for the process, and lets convolutions round by default: what was set comes back.
        """
        return _Products("tf32" if self.name == "tf32" else "ieee")


class _Products(AbstractContextManager[None]):
    """A rounding until the block ends; a class, as one environment's step pays for a generator twice."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._before: list[tuple[Any, str]] = []

    def __enter__(self) -> None:
        for backend in _BACKENDS:
            before = backend.fp32_precision
            if before != self._wanted:
                self._before.append((backend, before))
                backend.fp32_precision = self._wanted

    def __exit__(self, *error: object) -> None:
        for backend, before in self._before:
            backend.fp32_precision = before


def in_precision(method: Method) -> Method:
    """Run a method, backward included, in the precision of its object (its attribute `precision`)."""

    @functools.wraps(method)
    def scoped(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.precision.products():
            return method(self, *args, **kwargs)

    return cast(Method, scoped)
