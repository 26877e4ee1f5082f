"""Checks of arrays from outside: the right shape, kind and range, or one error that names the field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ibrl_fast.errors import ArgumentError

FloatArray = npt.NDArray[np.float32]


def to_numpy(value: Any) -> npt.NDArray[Any]:
    """Make a host array of a tensor, an array or nested numbers; no copy where none is needed."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    return np.asarray(value)


def _to_array(name: str, value: Any) -> npt.NDArray[Any]:
    """Call `to_numpy`; an error names the field."""
    if isinstance(value, np.ndarray):
        return value
    try:
        return to_numpy(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"{name}: expected an array, got {type(value).__name__} ({error})") from error


def check_shape(name: str, array: npt.NDArray[Any], shape: Sequence[int]) -> None:
    """Raise ValueError unless the array has this shape."""
    if array.shape != tuple(shape):
        raise ArgumentError(f"{name}: expected {list(shape)}, got {list(array.shape)}")


def check_vector(name: str, value: Any, shape: Sequence[int]) -> FloatArray:
    """Return finite numbers `[*shape]` as float32, or raise ValueError or TypeError."""
    array = _to_array(name, value)
    check_shape(name, array, shape)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers, got {array.dtype}")
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    # reductions by ufuncs: the array's methods take twice as long for one environment's step
    if not np.logical_and.reduce(np.isfinite(array), axis=None):
        raise ArgumentError(f"{name}: expected finite float32 values, got NaN or infinity")
    return array


def check_action(name: str, value: Any, shape: Sequence[int]) -> FloatArray:
    """Return actions `[*shape]` in [-1, 1] as float32, or raise ValueError or TypeError."""
    array = _to_array(name, value)
    check_shape(name, array, shape)
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: expected floating values, got {array.dtype}")
    # A NaN fails this comparison too.
    largest = np.maximum.reduce(np.abs(array), axis=None, initial=0.0)
    if not largest <= 1.0:
        raise ArgumentError(f"{name}: expected values in [-1, 1], got an absolute value of {largest}")
    return array.astype(np.float32, copy=False)


def check_flag(name: str, value: Any, shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return booleans `[*shape]`, or raise ValueError or TypeError."""
    array = _to_array(name, value)
    check_shape(name, array, shape)
    if array.dtype != np.bool_:
        raise TypeError(f"{name}: expected bool, got {array.dtype}")
    return array


def check_image(name: str, value: Any, shape: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Return images `[*shape]` in uint8, or raise ValueError or TypeError."""
    array = _to_array(name, value)
    check_shape(name, array, shape)
    if array.dtype != np.uint8:
        raise TypeError(f"{name}: expected uint8, got {array.dtype}")
    return array


def check_integer(name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """Return an integer of at least `minimum` and at most `maximum`, or raise ValueError or TypeError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
    if value < minimum:
        raise ArgumentError(f"{name}: expected at least {minimum}, got {value}")
    if maximum is not None and value > maximum:
        raise ArgumentError(f"{name}: expected at most {maximum}, got {value}")
    return int(value)
