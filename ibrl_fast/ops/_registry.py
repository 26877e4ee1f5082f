"""How an op reaches torch: its schema, its CPU and CUDA launches and its fake kernel, registered from Python.

A call goes from the public function, which checks its arguments, through torch's dispatcher to `launch_cpu`
or `launch_cuda`, which hands the kernel its fields. Kernels get addresses, sizes and strides, so the
extension does not link torch. They go by name: an op's `_fields` returns a dict, whose type in `_core.pyi` is
written from what the extension says it reads, and the extension refuses a dict that misses a name or has
another.

Every op writes into tensors that it is given (`Tensor(a!)` in the schema) and returns nothing: it never
allocates, and its fake kernel has nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ibrl_fast import _core

_LIBRARY = torch.library.Library("ibrl_fast", "DEF")

# The element type codes of csrc/common/dtype.h.
DTYPE_CODES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}


def register(
    name: str,
    schema: str,
    fields: Callable[..., Mapping[str, Any]],
    device_of: int = 0,
    explain: Callable[..., Exception | None] | None = None,
) -> Any:
    """Define `ibrl_fast::name` and return its callable overload.

    Values in device memory are nowhere read on the host. A CPU kernel checks those that it finds its way by
    (rows, steps, sizes) and returns the place of a bad one; a CUDA kernel asserts them before it reads.

    Args:
        name: the op's stem; `_core` has `{name}_cpu` and, when built with CUDA, `{name}_cuda`.
        schema: the op's arguments in torch's schema language.
        fields: turns the op's arguments into the kernel's fields by name: addresses, sizes and strides.
        device_of: position of the argument (a tensor or a list of them) whose device the kernel runs on.
        explain: turns the place of a bad value and the op's arguments into the error; None for one of rows.
    """
    # the op as torch knows it: what it reads, what it writes into, no result
    _LIBRARY.define(f"{name}({schema}) -> ()")

    # the extension's kernels, one for each device; a build without CUDA says so when it is called
    cpu_kernel = getattr(_core, f"{name}_cpu")
    cuda_kernel = getattr(_core, f"{name}_cuda", None)
    _LIBRARY.impl(name, partial(launch_cpu, name, cpu_kernel, fields, explain), "CPU")
    _LIBRARY.impl(name, partial(launch_cuda, name, cuda_kernel, fields, device_of), "CUDA")

    # what traced code and tensors without values take
    torch.library.register_fake(f"ibrl_fast::{name}", _write_nothing, lib=_LIBRARY)
    return getattr(torch.ops.ibrl_fast, name).default


def launch_cpu(
    name: str,
    kernel: Callable[..., int | None],
    fields: Callable[..., Mapping[str, Any]],
    explain: Callable[..., Exception | None] | None,
    *args: Any,
) -> None:
    """Run a CPU kernel on torch's number of threads.

    Raises:
        IndexError: for a bad value that the kernel found, or what `explain` makes of it.
    """
    bad = kernel(fields(*args), torch.get_num_threads())
    if bad is not None and bad >= 0:
        error = None if explain is None else explain(bad, *args)
        rows = f"{name}: rows: entry {bad} is out of range or names a row that holds no step"
        raise IndexError(rows) if error is None else error


def launch_cuda(
    name: str,
    kernel: Callable[..., None] | None,
    fields: Callable[..., Mapping[str, Any]],
    device_of: int,
    *args: Any,
) -> None:
    """Queue a CUDA kernel on the current stream of the device that its tensors are on.

    Raises:
        RuntimeError: the extension was built without CUDA.
    """
    if kernel is None:
        raise RuntimeError(
            f"{name}: this build of ibrl_fast has no CUDA kernels; "
            "build it where nvcc is on PATH, or pass tensors in CPU memory"
        )
    # the stream of torch's that the caller is on, which a graph under capture is on too
    given = args[device_of]
    device = (given[0] if isinstance(given, (list, tuple)) else given).device.index
    kernel(fields(*args), device, torch._C._cuda_getCurrentRawStream(device))


def _write_nothing(*args: Any) -> None:
    # the fake kernel: outputs are given, so no shape is to be worked out
    return None


def address_of(tensor: Tensor | None) -> int:
    """Return the address of a tensor's first element; 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()
