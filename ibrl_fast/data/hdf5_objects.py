"""Groups and datasets of an HDF5 file from outside, opened so that nothing else is opened or filled.

Links, external storage and virtual datasets can name any file of the machine (a pipe, somebody's keys), and a
small file can declare an array that fills the memory. Both are refused by what the file declares, before any
value is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import h5py

from ibrl_fast.errors import ArgumentError

# What h5py and numpy raise on damaged files, beside ValueError and TypeError.
UNREADABLE = (OSError, RuntimeError, KeyError, AttributeError, MemoryError, RecursionError)

# Deflate makes at most 1032 bytes of one; a small array may be fill values alone.
_MAX_EXPANSION = 1100
_SMALL_BYTES = 1 << 20
_MAX_CHUNK_BYTES = 1 << 28

_Object = TypeVar("_Object", h5py.Group, h5py.Dataset)
_KINDS = {h5py.Group: "group", h5py.Dataset: "dataset"}


def line(error: BaseException) -> str:
    """Put an error's message on one line."""
    return " ".join(str(error).split())


@contextmanager
def located(place: str) -> Iterator[None]:
    """Put a place in front of every error raised inside a `with` block."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"{place}: {line(error)}") from error
    except UNREADABLE as error:
        raise ArgumentError(f"{place}: expected readable data, got: {line(error)}") from error


def exists(parent: h5py.Group, name: str) -> bool:
    """Say whether a group has an entry of that name, wherever it leads."""
    return parent.get(name, getlink=True) is not None


def open_group(parent: h5py.Group, name: str) -> h5py.Group:
    """Open a group that must be there, in this very file."""
    return _open(parent, name, h5py.Group)


def open_dataset(parent: h5py.Group, name: str, steps: int | None = None) -> h5py.Dataset:
    """Open an array of numbers that must be there, in this very file and of a plausible size; read nothing.

    Args:
        parent: the group that holds it.
        name: its name there.
        steps: entries that it must have; None for any number.

    Raises:
        ValueError: naming the dataset.
    """
    dataset = open_array(parent, name)
    if dataset.dtype.kind not in "biuf":
        raise ArgumentError(f"{name}: expected numbers, got {dataset.dtype}")
    if steps is not None and dataset.shape[0] != steps:
        raise ArgumentError(f"{name}: expected {steps} entries, got {dataset.shape[0]}")
    return dataset


def open_array(parent: h5py.Group, name: str) -> h5py.Dataset:
    """Open an array as `open_dataset` does, of any type and length."""
    dataset = _open(parent, name, h5py.Dataset)
    with located(name):
        # Where its values lie.
        creation = dataset.id.get_create_plist()
        layout = creation.get_layout()
        if layout == h5py.h5d.VIRTUAL:
            raise ArgumentError("expected values in this file, got a virtual dataset")
        if creation.get_external_count() > 0:
            raise ArgumentError("expected values in this file, got external storage")
        if not dataset.shape:
            raise ArgumentError("expected an array, got a scalar")

        # What it says it holds, and what it can hold.
        declared, stored = num_bytes(dataset), dataset.id.get_storage_size()
        if declared > max(_SMALL_BYTES, _MAX_EXPANSION * stored):
            raise ArgumentError(
                f"expected no more than {stored} stored bytes can hold, got {dataset.dtype} "
                f"{list(dataset.shape)}"
            )
        if layout == h5py.h5d.CHUNKED:
            chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
            if chunk > _MAX_CHUNK_BYTES:
                raise ArgumentError(f"expected chunks of at most {_MAX_CHUNK_BYTES} bytes, got {chunk}")
    return dataset


def num_bytes(dataset: h5py.Dataset) -> int:
    """Count the bytes of an array in memory, by what it declares."""
    return math.prod(dataset.shape) * dataset.dtype.itemsize


def _open(parent: h5py.Group, name: str, kind: type[_Object]) -> _Object:
    """Open an entry of a group (`a/b`: of its group a) that is no link to anywhere else."""
    first, _, rest = name.strip("/").partition("/")
    if rest:
        with located(first):
            return _open(open_group(parent, first), rest, kind)
    expected = f"expected a {_KINDS[kind]}"
    with located(name):
        link = parent.get(first, getlink=True)
        if link is None:
            raise ArgumentError(f"{expected}, got none")
        if not isinstance(link, h5py.HardLink):
            where = "another file" if isinstance(link, h5py.ExternalLink) else "another place"
            raise ArgumentError(f"{expected} that lies here, got a link to {where}")
        found = parent[first]
        if not isinstance(found, kind):
            raise ArgumentError(f"{expected}, got a {_KINDS.get(type(found), 'named type')}")
    return found
