"""How an op reaches torch: its schema, its CPU and CUDA launches and its fake kernel, registered from Python.

Kernels get addresses, sizes and strides, so the extension does not link torch. Every op writes into tensors
that it is given (``Tensor(a!)`` in the schema) and returns nothing: it never allocates, and its fake kernel
has nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ibrl_fast import _core
from ibrl_fast.errors import ArgumentError

_LIBRARY = torch.library.Library("ibrl_fast", "DEF")

# The element type codes of csrc/common/dtype.h.
DTYPE_CODES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}

# The widest rows that the CUDA kernels normalise: kMaxRowWidth in csrc/kernels/row_columns.cuh.
MAX_CUDA_WIDTH = 2048


def register(name: str, schema: str, arguments: Callable[..., tuple[Any, ...]], device_of: int = 0) -> Any:
    """Defines ``ibrl_fast::name`` and returns its callable overload.

    Args:
        name: the op's stem; ``_core`` has ``{name}_cpu`` and, when built with CUDA, ``{name}_cuda``.
        schema: the op's arguments in torch's schema language.
        arguments: turns the op's arguments into the kernel's: addresses, sizes and strides.
        device_of: position of the argument (a tensor or a list of them) whose device the kernel runs on.
    """
    _LIBRARY.define(f"{name}({schema}) -> ()")
    cpu_kernel = getattr(_core, f"{name}_cpu")
    cuda_kernel = getattr(_core, f"{name}_cuda", None)
    _LIBRARY.impl(name, partial(launch_cpu, name, cpu_kernel, arguments), "CPU")
    _LIBRARY.impl(name, partial(launch_cuda, name, cuda_kernel, arguments, device_of), "CUDA")
    torch.library.register_fake(f"ibrl_fast::{name}", _write_nothing, lib=_LIBRARY)
    return getattr(torch.ops.ibrl_fast, name).default


def launch_cpu(
    name: str, kernel: Callable[..., int | None], arguments: Callable[..., Any], *args: Any
) -> None:
    """Runs a CPU kernel on torch's number of threads; it returns the place of a bad row index, if any."""
    bad = kernel(*arguments(*args), torch.get_num_threads())
    if bad is not None and bad >= 0:
        raise IndexError(f"{name}: rows: entry {bad} is out of range or names a row that holds no step")


def launch_cuda(
    name: str, kernel: Callable[..., None] | None, arguments: Callable[..., Any], device_of: int, *args: Any
) -> None:
    """Queues a CUDA kernel on the current stream of the device that its tensors are on."""
    if kernel is None:
        raise RuntimeError(
            f"{name}: this build of ibrl_fast has no CUDA kernels; "
            "build it where nvcc is on PATH, or pass tensors in CPU memory"
        )
    given = args[device_of]
    device = (given[0] if isinstance(given, (list, tuple)) else given).device.index
    kernel(*arguments(*args), device, torch._C._cuda_getCurrentRawStream(device))


def _write_nothing(*args: Any) -> None:
    # the fake kernel: outputs are given, so no shape is to be worked out
    return None


def as_counter(counter: Tensor | int, device: torch.device, name: str = "counter") -> Tensor:
    """The random counter as int64 [1] on ``device``; an int is written there without synchronising."""
    if not isinstance(counter, Tensor):
        return torch.full((1,), int(counter), dtype=torch.int64, device=device)
    check_tensor(name, counter, (1,), (torch.int64,), device)
    return counter


def check_tensor(
    name: str,
    tensor: Tensor,
    shape: Sequence[int | str],
    dtypes: Sequence[torch.dtype] | None = None,
    device: torch.device | None = None,
) -> None:
    """Raises ``ValueError`` unless shape (a str matches any size), dtype and device are as expected."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
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


def check_rows(name: str, rows: Tensor) -> None:
    """Checks row indices: int64 [B]."""
    check_tensor(name, rows, ("B",), (torch.int64,))


def check_stored(
    name: str,
    stored: Tensor,
    dtypes: Sequence[torch.dtype],
    device: torch.device,
    shape: Sequence[int | str] | None = None,
) -> None:
    """Checks a tensor read row by row: each row contiguous, on ``device`` or in pinned host memory."""
    if not isinstance(stored, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(stored).__name__}")
    check_tensor(name, stored, stored.shape if shape is None and stored.dim() else shape or ("N",), dtypes)
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
    """Checks a tensor to write into: shape, dtype, device and that it is contiguous; returns it."""
    check_tensor(name, out, shape, (dtype,), device)
    if not out.is_contiguous():
        raise ArgumentError(f"{name}: expected a contiguous tensor, got strides {tuple(out.stride())}")
    return out


def is_dense(tensor: Tensor) -> bool:
    """Whether the elements fill one block of memory, in whatever order (channels_last, for example)."""
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
