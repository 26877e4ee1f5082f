"""Checks of what callers give to pools: numbers, states, memory. Each refusal is one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ibrl_fast.errors import ArgumentError, OutOfMemoryError, describe
from ibrl_fast.memory import available_host_bytes

MAX_RAND_VEC = 10.0
"""Largest entry of a random vector: ten metres from the origin, far outside every task."""
MAX_COORDINATE = 1e10
"""Beyond it MuJoCo calls a position or speed bad."""
LARGEST = float(np.finfo(np.float32).max)
"""Largest number of an observation, which is handed out as float32, and of a return."""
_MOST_STEPS = 2**53  # counters pass through float64


class RandVecError(ArgumentError, RuntimeError):
    """A random vector whose start and goal the task does not accept."""


def to_array(name: str, value: Any, expected: str) -> npt.NDArray[Any]:
    """Return an array of real numbers or booleans; an ArgumentError says what was expected."""
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever a foreign object's conversion raises
        raise ArgumentError(f"{name}: expected {expected}, got {describe(value)} ({error})") from error
    if array.dtype.kind not in "fiub":
        raise ArgumentError(f"{name}: expected {expected}, got {describe(value)} of dtype {array.dtype}")
    return array


def check_env_ids(env_ids: Any, num_envs: int, *, are_different: bool) -> list[int]:
    """Return environments by number; None: all."""
    if env_ids is None:
        return list(range(num_envs))
    words = f"{'different ' if are_different else ''}indices 0 .. {num_envs - 1}"
    ids = np.asarray([], np.int64) if _is_empty(env_ids) else to_array("env_ids", env_ids, words)
    bad = ids.ndim != 1 or ids.dtype.kind not in "iu" or ((ids < 0) | (ids >= num_envs)).any()
    if bad or (are_different and len(np.unique(ids)) != len(ids)):
        raise ArgumentError(f"env_ids: expected {words}, got {describe(env_ids)}")
    return [int(index) for index in ids]


def _is_empty(value: Any) -> bool:
    return isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) and len(value) == 0


def check_rand_vec(rand_vec: Any, shape: tuple[int, int]) -> npt.NDArray[np.float64] | None:
    """Return random vectors float64 [N, R] of all environments, within MAX_RAND_VEC."""
    if rand_vec is None:
        return None
    expected = f"finite values {list(shape)}"
    array = to_array("rand_vec", rand_vec, expected).astype(np.float64)
    if array.shape != shape:
        raise ArgumentError(f"rand_vec: expected {expected}, got {list(array.shape)}")
    good = (np.abs(array) <= MAX_RAND_VEC).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise ArgumentError(
            f"rand_vec: expected {expected} within {MAX_RAND_VEC:g} m, "
            f"got {array[row].tolist()} for environment {row}"
        )
    return array


# ---- states ----


def check_state(
    state: Any, expected: Mapping[str, npt.NDArray[Any]], task: str, limits: Mapping[str, float]
) -> dict[str, npt.NDArray[Any]]:
    """Return a pool's state with the names, shapes and types that `expected` has.

    Numbers are at most `limits` by name in size, or MAX_COORDINATE; `rng` [N, 6] holds the words of NumPy's
    PCG64; integers are counts; a scalar under `task/` may be NaN, for one that is not set.
    """
    if not isinstance(state, Mapping):
        raise ArgumentError(f"state: expected a mapping of names to arrays, got {describe(state)}")
    if set(state) != set(expected):
        missing = sorted(set(expected) - set(state))
        extra = sorted(map(str, set(state) - set(expected)))
        raise ArgumentError(f"state: expected the entries of {task}, missing {missing}, unknown {extra}")
    limits = {"episode_return": LARGEST, **limits}
    return {key: _check_entry(key, state[key], value, limits) for key, value in expected.items()}


def _check_entry(
    key: str, given: Any, expected: npt.NDArray[Any], limits: Mapping[str, float]
) -> npt.NDArray[Any]:
    """Return one entry [N, ...] as an array of the expected dtype."""
    name = f"state[{key!r}]"
    try:
        array = to_array(name, given, f"numbers {list(expected.shape)}")
    except ArgumentError:
        _blame_row(name, given, expected)
        raise
    if array.shape != expected.shape:
        raise ArgumentError(f"{name}: expected {list(expected.shape)}, got {list(array.shape)}")

    # types that would lose something on their way are refused; which values are good depends on the entry
    kinds = "fiub" if expected.dtype.kind == "f" else "iub"
    if array.dtype.kind not in kinds:
        whole = (np.abs(array) <= 2.0**64) & (np.floor(array) == array)
        _refuse_bad(name, str(expected.dtype), array, whole)
        raise ArgumentError(f"{name}: expected {expected.dtype}, got {array.dtype}")
    words, good = _good_values(key, array, expected.dtype, limits.get(key, MAX_COORDINATE))
    _refuse_bad(name, words, array, good)
    return np.ascontiguousarray(array, dtype=expected.dtype).reshape(expected.shape)


def _refuse_bad(name: str, words: str, array: npt.NDArray[Any], good: npt.NDArray[np.bool_]) -> None:
    """Raise an error that names the first number [N, ...] that is not good."""
    if good.all():
        return
    place = tuple(int(index) for index in np.argwhere(~good)[0])
    where = f"environment {place[0]}" + (f", entry {list(place[1:])}" if len(place) > 1 else "")
    raise ArgumentError(f"{name}: expected {words}, got {array[place]} for {where}")


def _good_values(
    key: str, array: npt.NDArray[Any], dtype: np.dtype[Any], limit: float
) -> tuple[str, npt.NDArray[np.bool_]]:
    """Return what an entry's values must be, in words, and which of them are."""
    if key == "rng":
        # numpy's PCG64: an even increment can repeat one number for ever
        good = np.asarray(array >= 0)
        good[:, 3] &= array[:, 3] % 2 == 1
        good[:, 4] &= array[:, 4] <= 1
        good[:, 5] &= array[:, 5] < 2**32
        return "the words of a PCG64 generator (odd increment, flag 0 or 1, 32 bits)", good
    if dtype == np.int64:
        return f"an integer from 0 to {_MOST_STEPS}", (array >= 0) & (array <= _MOST_STEPS)
    if dtype.kind == "b":
        return "a boolean", (array == 0) | (array == 1)
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        return f"integers of {dtype}", (array >= bounds.min) & (array <= bounds.max)
    good = np.abs(array.astype(np.float64)) <= limit
    if key.startswith("task/") and array.ndim == 1:
        good |= np.isnan(array)  # a number that the task has not set
    return f"finite numbers of at most {limit:g}", good


def _blame_row(name: str, given: Any, expected: npt.NDArray[Any]) -> None:
    """Raise the error of the first environment whose row does not convert, where there is one."""
    if not isinstance(given, (Sequence, np.ndarray)) or isinstance(given, str):
        return
    if len(given) == len(expected):
        for row, value in enumerate(given):
            to_array(f"{name} of environment {row}", value, f"numbers {list(expected.shape[1:])}")


# ---- memory ----


def check_memory(num_envs: int, needed: int) -> None:
    """Raise an OutOfMemoryError where a pool of that estimated size in bytes cannot fit."""
    try:
        available = available_host_bytes()
    except OSError:
        return  # a system that does not say
    if needed > available:
        raise OutOfMemoryError(
            f"num_envs: expected a pool within the {available / 2**30:.2f} GiB of memory available, got "
            f"{num_envs} environments, which need {needed / 2**30:.2f} GiB; "
            "lower num_envs, image_size, frame_stack or num_threads"
        )
