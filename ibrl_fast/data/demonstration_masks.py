"""Which demonstrations of a file are meant: filter keys (masks) and the order of numbers."""

from __future__ import annotations

import os

import h5py

from ibrl_fast.data.demonstration_set import DemonstrationError
from ibrl_fast.data.hdf5_objects import UNREADABLE, exists, line, located, open_array, open_group
from ibrl_fast.data.hdf5_seals import read_dataset
from ibrl_fast.errors import ArgumentError


def read_masks(
    path: str | os.PathLike[str], *, filter_key: str | None = None, max_demos: int | None = None
) -> dict[str, list[int]]:
    """Return a file's filter keys with the places of their demonstrations among those that are read.

    Args:
        path, filter_key, max_demos: as of `read_demonstrations`.

    Raises:
        DemonstrationError: naming file and key.
    """
    try:
        with h5py.File(path, "r") as file:
            names = demo_names(file, open_group(file, "data"), filter_key, max_demos)
            keys = sorted(open_group(file, "mask")) if exists(file, "mask") else []
            chosen = {key: demo_names(file, open_group(file, "data"), key, None) for key in keys}
    except (*UNREADABLE, ValueError, TypeError) as error:
        raise DemonstrationError(f"{path}: {line(error)}") from error
    places = {name: place for place, name in enumerate(names)}
    masks = {key: [places[name] for name in part if name in places] for key, part in chosen.items()}
    return {key: part for key, part in masks.items() if part}


def demo_names(file: h5py.File, data: h5py.Group, filter_key: str | None, max_demos: int | None) -> list[str]:
    """List the names of the chosen demonstrations in the order of their numbers.

    Args:
        file: open.
        data: its group of demonstrations.
        filter_key, max_demos: as of `read_demonstrations`.

    Raises:
        ArgumentError: an unknown key, a name that is none, or no demonstration.
    """
    if max_demos is not None and max_demos < 1:
        raise ArgumentError(f"max_demos: expected at least 1, got {max_demos}")
    if filter_key is None:
        names = [name for name in data if name.startswith("demo_")]
    else:
        masks = sorted(open_group(file, "mask")) if exists(file, "mask") else []
        if filter_key not in masks:
            known = f"one of the filter keys {masks}" if masks else "no filter key, as the file has none"
            raise ArgumentError(f"mask: expected {known}, got {filter_key!r}")
        with located("mask"):
            mask = open_array(file["mask"], filter_key)
            names = [bytes(name).decode() for name in read_dataset(mask, sealed=False)]
    for name in names:
        if not name.removeprefix("demo_").isdecimal():
            raise ArgumentError(f"data: expected demonstrations named demo_<number>, got {name!r}")
    if not names:
        raise ArgumentError("data: expected at least one demonstration, got none")
    return sorted(names, key=lambda name: int(name.removeprefix("demo_")))[:max_demos]
