"""`ibrl-fast demos download NAME`: a published file of demonstrations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from ibrl_fast.files import check_output


def download(
    begin: Callable[[], None],
    name: Annotated[str, tyro.conf.Positional],
    out: Path | None = None,
    source: Path | None = None,
) -> None:
    """Fetch a published file of demonstrations and check it.

    Args:
        name: short name; a wrong one lists them all.
        out: the file to write; None: NAME.hdf5 in the current folder.
        source: folder with a copy of the repository; None: the Hugging Face Hub.
    """
    from ibrl_fast.training.download_demos import download_demonstrations

    begin()
    target = Path(f"{name}.hdf5") if out is None else out
    count = download_demonstrations(name, check_output(target, "out"), source=source)
    print(f"{count} demonstrations: {target}")
