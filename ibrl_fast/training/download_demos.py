"""Published files of demonstrations, from the Hugging Face Hub or from a copy of its repository."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ibrl_fast.data.demonstrations import read_demonstrations
from ibrl_fast.data.expected_demos import ExpectedDemos
from ibrl_fast.envs.registry import find_suite, list_tasks, resolve_task
from ibrl_fast.envs.suite import MissingPackageError, PublishedFile
from ibrl_fast.errors import ArgumentError, FileError, first_line, user_errors
from ibrl_fast.files import replacing


def published_files() -> dict[str, PublishedFile]:
    """Return all files that suites know, by short name."""
    suites = dict.fromkeys(name.split("/", 1)[0] for name in list_tasks())
    return {name: file for suite in suites for name, file in find_suite(suite).datasets.items()}


def download_demonstrations(
    name: str, out: str | os.PathLike[str], *, source: str | os.PathLike[str] | None = None
) -> int:
    """Fetch a published file, check it, and write it to `out`.

    Args:
        name: short name, one of `published_files()`.
        out: the file to write.
        source: folder with a copy of the repository, its files as they lie there; None: the Hub.

    Returns:
        How many demonstrations it holds.

    Raises:
        ArgumentError: an unknown name; lists the valid ones.
        MissingPackageError: huggingface_hub is not installed.
        FileError: it could not be fetched; says how to get it by hand.
        DemonstrationError: what came is not that file.
    """
    known = published_files()
    if name not in known:
        raise ArgumentError(f"dataset: expected one of {', '.join(known)}, got {name!r}")
    file = known[name]
    found = _fetch(name, file) if source is None else Path(source) / file.path
    if not found.is_file():
        raise FileError(f"{name}: expected a file, got none at {found}; {_by_hand(file)}")
    count = _check(found, file)
    with user_errors(str(out)), replacing(out) as temporary:
        shutil.copyfile(found, temporary)
    return count


def _fetch(name: str, file: PublishedFile) -> Path:
    """Return where the Hub's client has put the file, whose checksum it has compared."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise MissingPackageError(
            f"{name}: expected the package huggingface_hub, found none; pip install 'ibrl_fast[hub]', or "
            f"{_by_hand(file)}",
            name="huggingface_hub",
        ) from error
    try:
        return Path(hf_hub_download(file.repository, file.path, repo_type="dataset"))
    except Exception as error:  # of whichever HTTP library it uses
        raise FileError(f"{name}: could not be fetched: {first_line(error)}; {_by_hand(file)}") from error


def _by_hand(file: PublishedFile) -> str:
    return (
        f"by hand: {file.path} of the dataset {file.repository} on the Hugging Face Hub (on a machine with a "
        f"network: `hf download {file.repository} {file.path} --repo-type dataset --local-dir FOLDER`, then "
        "--source FOLDER)"
    )


def _check(path: Path, file: PublishedFile) -> int:
    """Read the file as training would; return how many demonstrations it holds."""
    info = resolve_task(file.task)
    sizes = {key: (len(units),) for key, units in info.observations.items()}
    expected = ExpectedDemos(
        shapes=sizes,
        parts={key: tuple(parts) for key, parts in info.parts.items()},
        action_dim=info.action_dim,
        task=info.name,
        aliases=info.aliases,
        control_period=info.control_period,
    )
    demos = read_demonstrations(path, keys=tuple(info.observations), expected=expected)
    if len(demos) != file.episodes:
        raise ArgumentError(f"{path}: expected {file.episodes} demonstrations, got {len(demos)}")
    return len(demos)
