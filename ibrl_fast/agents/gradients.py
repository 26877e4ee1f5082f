"""Which weights a loss reaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Let gradients flow through these weights while none is computed for them."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
