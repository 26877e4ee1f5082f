"""Writes one small file of every kind into a folder, then large ones, for which there is no room.

    python write_without_room.py FOLDER [LARGEST_FILE]

Each large one must fail with one `FileError` (printed) and leave the small one as it was.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1] / "data"))
from demonstration_files import make_demo

from ibrl_fast.data import write_demonstrations
from ibrl_fast.deploy.export import export_torchscript
from ibrl_fast.errors import FileError
from ibrl_fast.files import write_bytes, write_json
from ibrl_fast.training.records.checkpoint import save_checkpoint

# what writes a file of about so many numbers
WRITERS: dict[str, Callable[[Path, int], object]] = {
    "bytes": lambda path, size: write_bytes(path, bytes(4 * size)),
    "json": lambda path, size: write_json(path, {"a": list(range(size))}),
    "checkpoint": lambda path, size: save_checkpoint(path, {"a": torch.zeros(size), "b": torch.zeros(size)}),
    "demonstrations": lambda path, size: write_demonstrations(path, [make_demo(0, max(1, size // 100))]),
    "policy": lambda path, size: export_torchscript(torch.nn.Linear(size, 1), path),
}


def main(folder: Path, largest_file: int | None) -> None:
    """Writes small files, then large ones."""
    for name, write in WRITERS.items():
        write(folder / name, 10)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    for name, write in WRITERS.items():
        before = (folder / name).read_bytes()
        try:
            write(folder / name, 100_000)
        except FileError as error:
            print(error)
        else:
            raise AssertionError(f"{name}: expected an error")
        assert (folder / name).read_bytes() == before, name
    assert sorted(path.name for path in folder.iterdir()) == sorted(WRITERS)


main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
