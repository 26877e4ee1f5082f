"""Checkpoints: one file, written atomically, read without executing anything from it.

A checkpoint is a nested dict of tensors, numbers, strings, lists and dicts, so that
`torch.load(weights_only=True)` reads it: no pickled code is ever run (SECURITY.md). It is a zip archive with
a checksum of every record; torch looks at none of them, so they are compared before anything is unpickled.
"""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ibrl_fast.errors import ArgumentError, UserError
from ibrl_fast.files import kind_of, replacing

CHECKPOINT_NAME = "checkpoint.pt"
FORMAT_VERSION = 3

# What a run's checkpoint holds, whatever kind of run it is
RUN_CONTENT = ("config", "counters", "seconds", "records", "torch_rng", "contract")


class CheckpointError(ArgumentError):
    """A checkpoint that cannot be read or does not fit; the message names the file."""


def to_plain(value: Any) -> Any:
    """Replace numpy arrays and scalars by tensors and numbers, tuples by lists, at any depth.

    Args:
        value: nested dict / list / tuple of tensors, numpy arrays, numbers, strings, None.

    Raises:
        TypeError: for anything that could not be read back without running code.
    """
    if isinstance(value, torch.Tensor | str | int | float | bool) or value is None:
        return value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value)).clone()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    raise TypeError(
        f"checkpoint value: expected tensor, array, number, str, dict or list, got {type(value).__name__}"
    )


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content` so that a crash at any moment leaves the old or the new file, never half of one.

    Raises:
        FileError: it cannot be written; the old file is as it was.
    """
    plain = {"format_version": FORMAT_VERSION, **to_plain(content)}
    with replacing(path, f"checkpoint {path}") as temporary, temporary.open("wb") as file:
        torch.save(plain, file)


def load_checkpoint(path: Path, device: str = "cpu") -> dict[str, Any]:
    """Read a file of `save_checkpoint`.

    Args:
        path: the file, or a run folder that holds `checkpoint.pt`.
        device: where the tensors go.

    Raises:
        CheckpointError: missing, damaged, or of another format version.
    """
    path = Path(path)
    if path.is_dir():
        path = path / CHECKPOINT_NAME
    if not path.is_file():
        raise CheckpointError(f"checkpoint: expected a file at {path}, got {kind_of(path)} there")
    try:
        _verify(path)
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"checkpoint {path}: expected a readable checkpoint, got {_got(error)}"
        ) from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        whose = " (that version of ibrl_fast can go on with it)" if isinstance(version, int) else ""
        raise CheckpointError(
            f"checkpoint {path}: expected format_version {FORMAT_VERSION}, got {version}{whose}"
        )
    return content


def _verify(path: Path) -> None:
    """Compare every record of the archive with its checksum."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"a wrong checksum in its record {damaged.partition('/')[2] or damaged}")


def _got(error: Exception) -> str:
    """Return what was found instead of a checkpoint, on one line."""
    reason = (str(error).strip().splitlines() or [repr(error)])[0]
    if isinstance(error, zipfile.BadZipFile | zlib.error | EOFError):
        return f"a damaged file: {reason}"
    if isinstance(error, pickle.UnpicklingError):
        return f"content that is not read from files: {reason}"
    return f"{type(error).__name__}: {reason}"


def load_run(path: Path) -> dict[str, Any]:
    """Read the checkpoint of a training run, by its file or the run's folder.

    Raises:
        CheckpointError: as `load_checkpoint`, or a checkpoint of something else.
    """
    content = load_checkpoint(path)
    missing = [name for name in RUN_CONTENT if name not in content]
    if missing:
        raise CheckpointError(
            f"checkpoint {path}: expected a training run's, got one without {', '.join(missing)}"
        )
    return content


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Around the use of a checkpoint's content.

    Raises:
        CheckpointError: the content is whole, but not that of the run it says it is of.
    """
    try:
        yield
    except CheckpointError:
        raise
    except ArgumentError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        # memory that runs out is no fault of the file
        if "allocate memory" in str(error):
            raise
        reason = " ".join(str(error).split()[:40])
        raise CheckpointError(
            f"checkpoint {path}: expected the state of the run in its configuration, "
            f"got {type(error).__name__}: {reason}"
        ) from error
