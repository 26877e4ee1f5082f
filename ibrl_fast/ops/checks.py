"""Checks of what ops and layers are given: tensors, numbers, lists, and memory that must not be shared.

Errors have the form `name: expected ..., got ...`. Values in device memory are nowhere read on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ibrl_fast.errors import ArgumentError

MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1

# Kernels count in 32 bits where a division or a random number asks for it.
MAX_COUNT = 2**31 - 1

# The widest rows that the CUDA kernels normalise: kMaxRowWidth in csrc/kernels/row_columns.cuh.
MAX_CUDA_WIDTH = 2048


def as_counter(counter: Tensor | int, device: torch.device, name: str = "counter") -> Tensor:
    """Return the random counter as int64 `[1]` on `device`; an int is written there without synchronising."""
    if not isinstance(counter, Tensor):
        counter = check_integer(name, counter, MIN_INT64)
        return torch.full((1,), counter, dtype=torch.int64, device=device)
    check_tensor(name, counter, (1,), (torch.int64,), device)
    return counter


def check_tensor(
    name: str,
    tensor: Tensor,
    shape: Sequence[int | str],
    dtypes: Sequence[torch.dtype] | None = None,
    device: torch.device | None = None,
) -> None:
    """Check a tensor's shape, dtype and device.

    Args:
        name: begins the error.
        tensor: what was given.
        shape: the sizes it must have; a str, the size's name, matches any.
        dtypes: those it may have; None for any.
        device: the one it must be on; None for any.

    Raises:
        ValueError: one of them is another.
        TypeError: something that is no tensor.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    if tensor.layout is not torch.strided:
        raise ArgumentError(f"{name}: expected a dense tensor, got one of layout {tensor.layout}")
    got = tensor.shape
    if got != shape and (
        len(got) != len(shape) or any(g != w for g, w in zip(got, shape) if not isinstance(w, str))
    ):
        raise ArgumentError(f"{name}: expected {_shape_text(shape)}, got {_shape_text(got)}")
    if dtypes is not None and tensor.dtype not in dtypes:
        expected = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise ArgumentError(f"{name}: expected {expected}, got {str(tensor.dtype).removeprefix('torch.')}")
    if device is not None and tensor.device != device:
        raise ArgumentError(f"{name}: expected a tensor on {device}, got one on {tensor.device}")


def check_integer(name: str, value: Any, minimum: int, maximum: int = MAX_INT64) -> int:
    """Return an integer (numpy's too) in `minimum .. maximum` as int.

    Raises:
        ValueError: a smaller or larger one.
        TypeError: something that is no integer.
    """
    if type(value) is not int:
        if not isinstance(value, (int, np.integer, torch.SymInt)):
            raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
        value = value if isinstance(value, torch.SymInt) else int(value)
    if not minimum <= value <= maximum:
        unbounded = maximum == MAX_INT64 and value < minimum
        expected = f"at least {minimum}" if unbounded else f"{minimum} to {maximum}"
        raise ArgumentError(f"{name}: expected {expected}, got {value}")
    return value


def check_number(name: str, value: Any) -> float:
    """Return a number (numpy's too) as float.

    Raises:
        ValueError: an integer that float64 does not hold.
        TypeError: something that is no number.
    """
    if isinstance(value, float):
        return value
    if not isinstance(value, (int, np.floating, np.integer, torch.SymFloat)):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    if isinstance(value, int) and abs(value) > 2**1000:
        raise ArgumentError(f"{name}: expected a number that float64 holds, got a larger one")
    return float(value)


def check_list(name: str, value: Any, length: int | None = None) -> list[Any]:
    """Return a list or tuple, of a length where one is given, as a list.

    Raises:
        ValueError: another length.
        TypeError: something that is no list or tuple.
    """
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name}: expected a list or tuple, got {type(value).__name__}")
    if length is not None and len(value) != length:
        raise ArgumentError(f"{name}: expected {length} entries, got {len(value)}")
    return list(value)


def check_apart(name: str, outs: Sequence[Tensor | None], given: Sequence[Tensor | None] = ()) -> None:
    """Check that what is written shares memory with nothing else of the call.

    Args:
        name: begins the error.
        outs: what is written.
        given: what is read, or written by others.

    Raises:
        ValueError: memory is shared.
    """
    if torch.compiler.is_compiling():
        return
    written = [_span(tensor) for tensor in outs if tensor is not None]
    for place, (begin, end) in enumerate(written):
        apart = all(end <= other or stop <= begin for other, stop in written[:place])
        for tensor in given:
            # most begin behind the end, and need no look at their strides
            if apart and tensor is not None and tensor.data_ptr() < end:
                apart = _span(tensor)[1] <= begin
        if not apart:
            raise ArgumentError(
                f"{name}: expected memory of its own, got a tensor that overlaps another of the call"
            )


def _span(tensor: Tensor) -> tuple[int, int]:
    """First address of a tensor's elements, and the one after the last; the same where there are none."""
    # a slice of a tensor without memory has an address all the same
    begin = 0 if tensor.is_meta else tensor.data_ptr()
    if begin == 0 or tensor.numel() == 0:
        return begin, begin
    if tensor.is_contiguous():
        return begin, begin + tensor.nbytes
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    return begin, begin + (last + 1) * tensor.element_size()


def check_rows(name: str, rows: Tensor) -> None:
    """Check row indices, int64 `[batch]`."""
    check_tensor(name, rows, ("batch",), (torch.int64,))


def check_stored(
    name: str,
    stored: Tensor,
    dtypes: Sequence[torch.dtype],
    device: torch.device,
    shape: Sequence[int | str] | None = None,
) -> None:
    """Check a tensor that is read row by row: each row contiguous, on `device` or in pinned host memory."""
    if not isinstance(stored, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(stored).__name__}")
    check_tensor(
        name, stored, stored.shape if shape is None and stored.dim() else shape or ("num_rows",), dtypes
    )
    if not stored.is_contiguous() and stored.shape[0] > 0 and not stored[0].is_contiguous():
        raise ArgumentError(f"{name}: expected contiguous rows, got strides {tuple(stored.stride())}")
    if stored.device != device and not (
        device.type == "cuda" and stored.device.type == "cpu" and stored.is_pinned()
    ):
        raise ArgumentError(
            f"{name}: expected a tensor on {device} or in pinned host memory, got one on {stored.device}"
        )


def check_out(
    name: str, out: Tensor, shape: Sequence[int], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Check a tensor to write into, shape, dtype, device and that it is contiguous, and return it."""
    check_tensor(name, out, shape, (dtype,), device)
    if not out.is_contiguous():
        raise ArgumentError(f"{name}: expected a contiguous tensor, got strides {tuple(out.stride())}")
    return out


def is_dense(tensor: Tensor) -> bool:
    """Return whether the elements fill one block of memory, in whatever order (channels last, say)."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted((s, n) for s, n in zip(tensor.stride(), tensor.shape) if n != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def _shape_text(shape: Sequence[int | str]) -> str:
    return "[" + ", ".join(str(size) for size in shape) + "]"
