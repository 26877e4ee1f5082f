"""Minari data sets on this machine: found by id or folder, and looked at before any value is read.

    FOLDER/data/metadata.json    spaces, env_spec and counts
    FOLDER/data/main_data.hdf5   or, with pyarrow, one folder of Arrow or Parquet files per episode

Everything is read through the `minari` package (the Farama Foundation's standard), except for what it would
do with a file that asks for it: an environment that `env_spec` names is never built, and HDF5 is walked first
for links out of the file and sizes that cannot be. Nothing is downloaded.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from ibrl_fast.data.hdf5_objects import line, located, num_bytes, open_array, open_group
from ibrl_fast.errors import ArgumentError, FileError, UserError, expect
from ibrl_fast.files import kind_of, read_json

PREFIX = "minari:"
"""Before the id of a data set: `minari:D4RL/pen/human-v2`."""
ROOT_VARIABLE = "MINARI_DATASETS_PATH"
"""Minari's own environment variable: where data sets lie instead of ~/.minari/datasets."""
INSTALL = "pip install 'ibrl_fast[minari]'"

_ID = re.compile(r"[-\w]+(/[-\w]+)*-v\d+")
_METADATA = "metadata.json"
_HDF5 = "main_data.hdf5"


@dataclass(frozen=True)
class MinariData:
    """A data set whose spaces are known; its episodes are read one at a time.

    Attributes:
        folder: that of its data.
        dataset_id: its id, as it says.
        env_id: the Gymnasium id of its environment; None where it records none.
        observation_space, action_space: Gymnasium spaces.
        num_episodes: how many it says it has.
        storage: minari's.
    """

    folder: Path
    dataset_id: str
    env_id: str | None
    observation_space: Any
    action_space: Any
    num_episodes: int
    storage: Any

    def declared_episodes(self) -> Iterator[tuple[int, Mapping[str, Any], int]]:
        """Yield what is declared of each episode, once it is sure that its data lie in the data set itself.

        Yields:
            Its number, its metadata (`total_steps`, `seed`, a user's own entries), and the bytes that it
            declares; 0 where the format does not say that before it is read.
        """
        numbers = range(self.num_episodes)
        with ExitStack() as files:
            check = self._check_files
            if self.storage.FORMAT == "hdf5":
                with located(_HDF5):
                    _check_file(self.folder / _HDF5)
                    file = files.enter_context(h5py.File(self.folder / _HDF5, "r"))
                check = functools.partial(_check_group, file)
            all_metadata = iter(self.storage.get_episode_metadata(numbers))
            for number in numbers:
                num_bytes = check(number)
                with _minari_errors(f"episode {number}"):
                    metadata = dict(next(all_metadata))
                yield number, metadata, num_bytes

    def read_episode(self, number: int) -> Mapping[str, Any]:
        """Read an episode: observations, actions, rewards, terminations, truncations, infos."""
        with _minari_errors(f"episode {number}"):
            episode: dict[str, Any] = next(iter(self.storage.get_episodes([number])))
        return episode

    def _check_files(self, number: int) -> int:
        """Make sure that an episode's files are files in its folder."""
        own = self.folder / str(number)
        with located(f"episode {number}"):
            expect(own.is_dir() and not own.is_symlink(), "files", "a folder", kind_of(own))
            for file in own.iterdir():
                _check_file(file)
        return 0


def find_minari(path: str | os.PathLike[str]) -> Path | None:
    """Return the data folder of the data set that a path names, or None where it names something else.

    Args:
        path: `minari:ID`, a data set's folder, or the folder `data` in it.

    Raises:
        ArgumentError: no id, or one that is not on this machine; says how it is downloaded.
    """
    name = os.fspath(path)
    if not name.startswith(PREFIX):
        folders = [Path(name) / "data", Path(name)]
        return next((folder for folder in folders if (folder / _METADATA).is_file()), None)
    dataset_id = name.removeprefix(PREFIX)
    expect(_ID.fullmatch(dataset_id) is not None, "minari", "an id such as D4RL/pen/human-v2", dataset_id)
    root = Path(os.environ.get(ROOT_VARIABLE) or "~/.minari/datasets").expanduser()
    folder = root / dataset_id / "data"
    if not (folder / _METADATA).is_file():
        raise ArgumentError(
            f"minari: expected a data set in {root}, got none; `minari download {dataset_id}` gets it "
            f"({ROOT_VARIABLE} says where data sets lie)"
        )
    return folder


def open_minari(folder: Path) -> MinariData:
    """Read what a data set says of itself; no environment is built.

    Args:
        folder: that of its data.

    Raises:
        ArgumentError: the package `minari` is missing, or metadata that cannot be used.
    """
    try:
        # its own way to the class of a format: `MinariStorage.read` builds environments
        from minari.dataset._storages import get_minari_storage, get_storage_keys
        from minari.serialization import deserialize_space
    except ImportError as error:
        raise ArgumentError(f"expected the package minari, got: {line(error)}; {INSTALL}") from error

    try:
        metadata = read_json(folder / _METADATA, _METADATA)
    except FileError as error:
        raise ArgumentError(str(error)) from error
    with located(_METADATA):
        spaces = {}
        for name in ("observation_space", "action_space"):
            expected = "a space (no environment is built from a file to ask for it)"
            expect(isinstance(metadata.get(name), str), name, expected, metadata.get(name))
            with _minari_errors(name):
                spaces[name] = deserialize_space(metadata[name])
        data_format, formats = metadata.get("data_format"), get_storage_keys()
        expect(data_format in formats, "data_format", f"one of {', '.join(formats)}", data_format)
        count = metadata.get("total_episodes")
        expect(type(count) is int and count >= 1, "total_episodes", "a number of at least 1", count)
        with _minari_errors("data_format"):
            make_storage = get_minari_storage(data_format)
            jpeg = bool(metadata.get("jpeg_encoding", True))
            storage = make_storage(folder, *spaces.values(), jpeg_encoding=jpeg)
        dataset_id = metadata.get("dataset_id")
        name = dataset_id if isinstance(dataset_id, str) else folder.parent.name
        observations, actions = spaces.values()
        return MinariData(folder, name, _env_id(metadata), observations, actions, int(count or 0), storage)


def _env_id(metadata: Mapping[str, Any]) -> str | None:
    """Read the environment's id alone; the rest of `env_spec` could name any program."""
    spec = metadata.get("env_spec")
    if spec is None:
        return None
    with located("env_spec"):
        values = json.loads(spec)
        env_id = values.get("id") if isinstance(values, dict) else None
        expect(isinstance(env_id, str), "id", "an environment's id", env_id)
        return str(env_id)


def _check_file(file: Path) -> None:
    """Raise ArgumentError where something else than a file lies there, a link too."""
    kind = "a link" if file.is_symlink() else kind_of(file)
    expect(kind == "a regular file", file.name, "a regular file", kind)


def _check_group(file: h5py.File, number: int) -> int:
    """Make sure that an episode lies in this file, and count the bytes that it declares."""
    with located(_HDF5):
        return _declared_bytes(file, f"episode_{number}")


def _declared_bytes(parent: h5py.Group, name: str) -> int:
    """Count the bytes of everything below a group, all of which must lie in this file."""
    group, total = open_group(parent, name), 0
    with located(name):
        for child in group:
            is_here = isinstance(group.get(child, getlink=True), h5py.HardLink)
            if is_here and group.get(child, getclass=True) is h5py.Group:
                total += _declared_bytes(group, child)
            else:
                total += num_bytes(open_array(group, child))
    return total


@contextmanager
def _minari_errors(place: str) -> Iterator[None]:
    """Turn whatever minari, pyarrow and Pillow raise inside the block into one error with its place."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        got = line(error) or type(error).__name__
        raise ArgumentError(f"{place}: expected readable data, got: {got}") from error
