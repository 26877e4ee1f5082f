"""NumPy's norm of a short vector without BLAS, and with its last bit moved.

`np.linalg.norm` of a vector goes through OpenBLAS, whose kernel depends on the processor: the kernels of
AVX-512 and of SSE machines add the squares of three numbers in another order than that of AVX2 ones, so that
one result in ten differs in its last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

LONGEST = 31
"""Kernels work in blocks from here on; the published tasks take norms of at most a dozen numbers."""

_norm = np.linalg.norm


def norm_without_blas(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """As `np.linalg.norm`: for a vector the root of its squares, added from first to last."""
    values = np.asarray(x)
    if values.ndim != 1 or ord is not None or axis is not None or keepdims or values.dtype != np.float64:
        return _norm(x, ord=ord, axis=axis, keepdims=keepdims)
    assert values.size <= LONGEST, values.size
    squares = 0.0
    for value in values.tolist():
        squares += value * value
    return np.float64(math.sqrt(squares))


def norm_with_moved_bits(rng: np.random.Generator) -> Callable[..., Any]:
    """As `norm_without_blas`, with a result one unit in the last place lower, equal or higher, at random."""

    def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
        value = norm_without_blas(x, ord, axis, keepdims)
        return np.nextafter(value, rng.choice([-np.inf, value, np.inf])) if np.ndim(value) == 0 else value

    return norm
