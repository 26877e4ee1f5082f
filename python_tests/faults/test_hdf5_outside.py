"""A demonstration file opens nothing but itself: no links, external storage, virtual datasets, pipes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from demonstration_files import make_demo, remove_seals

from ibrl_fast.data import DemonstrationError, read_demonstrations, write_demonstrations

STEPS = 5
Edit = Callable[[h5py.File, Path], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of two demonstrations, as another program would have written it."""
    path = tmp_path / "demos.hdf5"
    write_demonstrations(path, [make_demo(0, STEPS), make_demo(1, STEPS)], masks={"all": [0, 1]})
    remove_seals(path)
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A pipe that waits for ever when it is opened."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def put(name: str, make: Callable[[h5py.Group, str, h5py.Dataset | None, Path], None]) -> Edit:
    """Replaces an entry."""

    def edit(file: h5py.File, outside: Path) -> None:
        parent, _, last = name.rpartition("/")
        old = file[name][()] if isinstance(file[name], h5py.Dataset) else None
        del file[name]
        make(file[parent or "/"], last, old, outside)

    return edit


def external_link(group: h5py.Group, name: str, _: object, outside: Path) -> None:
    group[name] = h5py.ExternalLink(str(outside), "/data")


def soft_link(group: h5py.Group, name: str, _: object, outside: Path) -> None:
    group.file["door"] = h5py.ExternalLink(str(outside), "/data")
    group[name] = h5py.SoftLink("/door/data")


def external_storage(group: h5py.Group, name: str, old: np.ndarray, outside: Path) -> None:
    group.create_dataset(name, old.shape, old.dtype, external=[(str(outside), 0, old.nbytes)])


def virtual_dataset(group: h5py.Group, name: str, old: np.ndarray, outside: Path) -> None:
    layout = h5py.VirtualLayout(old.shape, old.dtype)
    layout[...] = h5py.VirtualSource(str(outside), "values", old.shape)
    group.create_virtual_dataset(name, layout)


def growing_virtual_dataset(group: h5py.Group, name: str, old: np.ndarray, outside: Path) -> None:
    """Its shape depends on the files that it is made of, one for each entry."""
    space = h5py.h5s.create_simple((1,), (h5py.h5s.UNLIMITED,))
    space.select_hyperslab((0,), (h5py.h5s.UNLIMITED,), (1,), (1,))
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_virtual(space, f"{outside}-%b".encode(), b"values", h5py.h5s.create_simple((1,)))
    h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F32LE, space, creation)


DATASETS = ("actions", "rewards", "dones", "terminated", "truncated", "states", "obs/state", "next_obs/state")
OUTSIDE = {
    "external link": (external_link, "expected a (dataset|group) that lies here, got a link to another file"),
    "soft link": (soft_link, "expected a (dataset|group) that lies here, got a link to another place"),
    "external storage": (external_storage, "expected values in this file, got external storage"),
    "virtual dataset": (virtual_dataset, "expected values in this file, got a virtual dataset"),
}


@pytest.mark.parametrize("what", OUTSIDE)
@pytest.mark.parametrize("name", [*(f"data/demo_1/{name}" for name in DATASETS), "mask/all"])
def test_dataset_that_lies_elsewhere(path: Path, outside: Path, name: str, what: str) -> None:
    make, message = OUTSIDE[what]
    with h5py.File(path, "r+") as file:
        put(name, make)(file, outside)
    place = name.removeprefix("data/").replace("/", ": ")
    with pytest.raises(DemonstrationError, match=f"^{re.escape(str(path))}: {place}: {message}$"):
        read_demonstrations(path, filter_key="all")


@pytest.mark.parametrize("make", [external_link, soft_link])
@pytest.mark.parametrize("name", ["data", "data/demo_1", "data/demo_1/obs", "data/demo_1/next_obs", "mask"])
def test_group_that_lies_elsewhere(path: Path, outside: Path, name: str, make: Callable[..., None]) -> None:
    with h5py.File(path, "r+") as file:
        put(name, make)(file, outside)
    place = (name.removeprefix("data/") if "/" in name else name).replace("/", ": ")
    with pytest.raises(DemonstrationError, match=f": {place}: expected a group that lies here, got a link"):
        read_demonstrations(path, filter_key="all")


def test_virtual_dataset_that_grows_with_its_sources(path: Path, outside: Path) -> None:
    os.mkfifo(f"{outside}-0")
    with h5py.File(path, "r+") as file:
        put("data/demo_1/rewards", growing_virtual_dataset)(file, outside)
    with pytest.raises(DemonstrationError, match="rewards: expected values in this file, got a virtual"):
        read_demonstrations(path)


def test_entry_of_another_entry_is_looked_at_step_by_step(path: Path, outside: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["data/demo_0/obs/robot"] = h5py.ExternalLink(str(outside), "/data")
    with pytest.raises(DemonstrationError, match="robot: expected a group that lies here, got a link"):
        read_demonstrations(path, keys=["state"], state_keys=["robot/joints"])


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder", "a socket"])
def test_path_that_is_no_file(tmp_path: Path, outside: Path, kind: str) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        places = {
            "a pipe": outside,
            "a device": "/dev/zero",
            "a folder": tmp_path,
            "a socket": tmp_path / "socket",
        }
        with pytest.raises(DemonstrationError, match=f"file: expected a file, got {kind}"):
            read_demonstrations(places.get(kind, tmp_path / "socket"))


# ---- more than there is


def declare(name: str, shape: tuple[int, ...], dtype: str = "f4", **options: object) -> Edit:
    def make(group: h5py.Group, last: str, old: object, _: Path) -> None:
        group.create_dataset(last, shape, dtype, **options)

    return put(name, make)


COLUMNS = 10_000_000
HUGE = {
    "columns": declare("data/demo_1/obs/state", (STEPS, COLUMNS), chunks=(1, 100_000), compression="gzip"),
    "columns of states": declare("data/demo_1/states", (STEPS, COLUMNS), "f8", chunks=(1, 100_000)),
    "actions": declare("data/demo_1/actions", (STEPS, COLUMNS), chunks=(1, 100_000)),
    "steps": declare("data/demo_1/actions", (10**12, 4), chunks=(1000, 4)),
    "pixels": declare("data/demo_1/obs/corner2_image", (STEPS, 2**20, 2**20, 3), "u1", chunks=(1, 64, 64, 3)),
    "never written": declare("data/demo_1/obs/state", (STEPS, 60_000), "f8", chunks=(1, 60_000)),
    "dimensions": declare("data/demo_1/rewards", (STEPS, *[9] * 12), chunks=(1,) * 13),
    "text": declare("data/demo_1/rewards", (STEPS,), "S1000000", chunks=(1,)),
    "objects": declare("data/demo_1/rewards", (STEPS,), h5py.string_dtype()),  # type: ignore[arg-type]
    "names": declare("mask/all", (10**9,), "S10", chunks=(1000,)),
}


@pytest.mark.parametrize("what", HUGE)
def test_declared_sizes_are_compared_before_anything_is_read(path: Path, outside: Path, what: str) -> None:
    with h5py.File(path, "r+") as file:
        HUGE[what](file, outside)
    started = time.process_time()
    with pytest.raises(DemonstrationError, match="expected") as caught:
        read_demonstrations(path, filter_key="all")
    assert time.process_time() - started < 1
    assert str(caught.value).startswith(f"{path}: ")


def test_demonstrations_are_compared_before_anything_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(path, "r+") as file:
        for name in ("obs/state", "next_obs/state"):
            del file[f"data/demo_1/{name}"]
            file[f"data/demo_1/{name}"] = np.zeros((STEPS, 8))
    monkeypatch.setattr(h5py.Dataset, "__getitem__", None)
    with pytest.raises(DemonstrationError, match=r"demos\[1\].observations: expected .* as in the first"):
        read_demonstrations(path)


def test_more_than_the_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 30)
    with pytest.raises(DemonstrationError, match="data: expected at most the 900 bytes of this machine"):
        read_demonstrations(path)


def test_large_arrays_of_one_value_are_read(tmp_path: Path) -> None:
    """Deflate makes them very small; that is no reason to refuse them."""
    images = np.zeros((STEPS + 1, 3, 400, 400), np.uint8)
    demo = make_demo(0, STEPS, observations={"corner2": images}, states=np.zeros((STEPS, 30_000)))
    write_demonstrations(tmp_path / "a.hdf5", [demo])
    assert read_demonstrations(tmp_path / "a.hdf5")[0].observations["corner2"].shape == images.shape
