"""Checksums in the HDF5 files of this package, as attributes `crc32`; other programs overlook them.

A dataset's covers its values, a group's covers the attributes, names, shapes, types and checksums of all that
is below it. HDF5's own checksums (Fletcher32 and those of its metadata) are there as well, for other
programs; they miss some changes and do not cover all that is believed here.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, TypeAlias

import h5py
import numpy as np

from ibrl_fast.data.hdf5_objects import located
from ibrl_fast.errors import ArgumentError
from ibrl_fast.files import SEAL

# A chunk is what HDF5 reads at a time, and what one of its checksums covers.
_CHUNK_BYTES = 1 << 20

Object: TypeAlias = h5py.Group | h5py.Dataset


def write_dataset(parent: h5py.Group, name: str, values: Any, *, by_entry: bool = False) -> None:
    """Write an array `[n, ...]` with its checksums.

    Args:
        parent: the group.
        name: in the group.
        values: the array.
        by_entry: each entry is compressed and read on its own (images).
    """
    array = np.ascontiguousarray(values)
    options: dict[str, Any] = {}
    if array.size:
        row = array.nbytes // len(array)
        rows = 1 if by_entry else min(len(array), max(1, _CHUNK_BYTES // row))
        options = {"chunks": (rows, *array.shape[1:]), "fletcher32": True}
    if array.size and by_entry:
        options |= {"compression": "gzip", "compression_opts": 4}
    dataset = parent.create_dataset(name, data=array, **options)
    dataset.attrs[SEAL] = np.uint32(zlib.crc32(array.data))


def read_dataset(dataset: h5py.Dataset, *, sealed: bool) -> np.ndarray[Any, Any]:
    """Read all values of a dataset and compare its checksum; `sealed`: it must have one."""
    array: np.ndarray[Any, Any] = dataset[()]
    _compare(dataset, zlib.crc32(np.ascontiguousarray(array).data) if is_sealed(dataset) else None, sealed)
    return array


def is_sealed(item: Object) -> bool:
    """Say whether a group or dataset carries a checksum of this package."""
    return SEAL in item.attrs


def seal_group(group: h5py.Group) -> None:
    """Write the checksum of a group whose content is complete."""
    group.attrs[SEAL] = np.uint32(_group_checksum(group))


def check_group(group: h5py.Group, *, sealed: bool) -> None:
    """Compare a group with its checksum; `sealed`: it must have one."""
    _compare(group, _group_checksum(group) if is_sealed(group) else None, sealed)


def _compare(item: Object, checksum: int | None, sealed: bool) -> None:
    if checksum is None:
        if sealed:
            raise ArgumentError(f"{SEAL}: expected a checksum as elsewhere in the file, got none")
        return
    expected = item.attrs[SEAL]
    if not isinstance(expected, np.integer) or int(expected) != checksum:
        raise ArgumentError(
            f"{SEAL}: expected content that fits its checksum, got other content: damaged, or changed by "
            "another program"
        )


def _group_checksum(group: h5py.Group) -> int:
    return zlib.crc32(json.dumps(_structure(group), sort_keys=True, default=repr).encode())


def _structure(group: h5py.Group) -> dict[str, Any]:
    """Describe all below a group but values; a group with a checksum stands for what is below it."""
    entries: dict[str, Any] = {"attributes": _attributes(group, without=SEAL)}
    for name in sorted(group):
        with located(name):
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                entries[name] = repr(link)
                continue
            child = group[name]
            if isinstance(child, h5py.Group) and not is_sealed(child):
                entries[name] = _structure(child)
            elif isinstance(child, h5py.Group):
                entries[name] = str(child.attrs[SEAL])
            else:
                entries[name] = [child.dtype.str, list(child.shape or ()), _attributes(child)]
    return entries


def _attributes(item: Object, without: str = "") -> dict[str, Any]:
    entries = {}
    for name in item.attrs:
        if name != without:
            value = item.attrs[name]
            if isinstance(value, np.ndarray | np.generic):
                entries[name] = [value.dtype.str, list(value.shape), value.tolist()]
            else:
                entries[name] = value
    return entries
