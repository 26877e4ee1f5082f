"""Files of this package: whole or not there when written, checked when read.

`replacing` is the one way in which a file is written: beside its place, flushed to the disk, then renamed
over it. `seal` and `unseal` put a checksum into the JSON that this package writes and look at it when
reading. The checksums are against damage; whoever means harm can make new ones (SECURITY.md).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ibrl_fast.errors import FileError, UserError, user_errors

SEAL = "crc32"
"""Name of the checksum in an object of JSON."""

# what a write has no room for, and what helps
_NO_ROOM = {
    errno.ENOSPC: "make room and run the command again",
    errno.EDQUOT: "make room in your quota and run the command again",
    errno.EFBIG: "this file system or process may not write files of that size",
}
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
_TEMPORARY = re.compile(r"\..*\.part-(\d+)-[0-9a-f]{8}(\..*)?", re.DOTALL)


# ---- writing


@contextmanager
def replacing(path: str | os.PathLike[str], name: str | None = None) -> Iterator[Path]:
    """Yield a path to write to; at the end what was written takes the place of `path`, unless an error came.

    The file is readable to whom the umask says. A link is followed. What killed processes left half written
    in the same folder is removed.

    Args:
        path: the file to write; folders above it are made.
        name: what begins the message of an error; the path when absent.

    Raises:
        FileError: `path` is no regular file, its folder cannot be written to, or there is no room.
    """
    name = str(path) if name is None else name
    with user_errors(name):
        target = _writable_place(path, name)
        _remove_leftovers(target.parent)
        temporary, handle = _make_temporary(target)
    try:
        try:
            yield temporary
            # on the disk before the name changes, so that no crash leaves an empty file
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except UserError:
            raise
        except Exception as error:
            # other libraries hide a full disk behind errors of their own
            refusal = error if isinstance(error, OSError) else None
            if refusal is None or refusal.errno is None:
                refusal = _write_refusal(handle) or refusal
            if refusal is None:
                raise
            raise FileError(f"{name}: {_reason(refusal)}") from error
        with suppress(OSError):
            _sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


def write_bytes(path: str | os.PathLike[str], content: bytes, name: str | None = None) -> None:
    """Write a whole file or leave the old one; arguments and errors as of `replacing`."""
    with replacing(path, name) as temporary:
        temporary.write_bytes(content)


def check_output(path: str | os.PathLike[str], name: str) -> Path:
    """Make sure, before any work is done, that a file can be written at `path`; make the folders above.

    Raises:
        FileError: as `replacing` would at the end.
    """
    with user_errors(name):
        target = _writable_place(path, name)
        temporary, handle = _make_temporary(target)
        os.close(handle)
        temporary.unlink()
    return Path(path)


def check_output_folder(path: str | os.PathLike[str], name: str) -> Path:
    """Make a folder, and make sure that files can be written into it.

    Raises:
        FileError: it is something else, or cannot be written to.
    """
    with user_errors(name):
        if Path(path).exists() and not Path(path).is_dir():
            raise FileError(f"{name}: expected a folder, got {path} ({kind_of(path)})")
        check_output(Path(path) / "file", name)
    return Path(path)


def user_cache_folder() -> Path:
    """Return the folder for what can be made again, $XDG_CACHE_HOME/ibrl_fast or ~/.cache/ibrl_fast.

    Nothing is made; a relative $XDG_CACHE_HOME counts as unset, as the XDG base directory specification says.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "ibrl_fast"


def kind_of(path: str | os.PathLike[str]) -> str:
    """Say what lies at a path (links followed), in words; `nothing` where nothing does."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    return _KINDS.get(stat.S_IFMT(mode), "a regular file")


def _writable_place(path: str | os.PathLike[str], name: str) -> Path:
    """Return where a file written as `path` goes, links followed; make its folder."""
    target = Path(os.path.realpath(path))
    kind = kind_of(target)
    if kind not in ("nothing", "a regular file"):
        raise FileError(f"{name}: expected a regular file, got {path} ({kind})")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _make_temporary(target: Path) -> tuple[Path, int]:
    """Make an empty file beside `target`, locked for as long as its handle is open."""
    stem = target.name.encode()[:100].decode(errors="ignore")
    suffix = target.suffix if len(target.suffix) <= 10 else ""
    temporary = target.with_name(f".{stem}.part-{os.getpid()}-{secrets.token_hex(4)}{suffix}")
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with suppress(OSError):  # a file system without locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return temporary, handle


def _remove_leftovers(folder: Path) -> None:
    """Remove temporaries whose process is gone: nobody has its number, and nobody holds the file's lock."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _TEMPORARY.fullmatch(entry.name)]
    for leftover in (folder / name for name in names):
        match = _TEMPORARY.fullmatch(leftover.name)
        assert match is not None
        if _is_running(int(match[1])):
            continue
        with suppress(OSError):
            handle = os.open(leftover, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
            finally:
                os.close(handle)


def _is_running(pid: int) -> bool:
    """Say whether a process has this number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _write_refusal(handle: int) -> OSError | None:
    """Say why nothing more can be written to an open file; None when it can."""
    try:
        os.pwrite(handle, bytes(1 << 16), os.fstat(handle).st_size)
    except OSError as error:
        return error
    return None


def _reason(error: OSError) -> str:
    """Put an error of the system in words, with what helps."""
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    advice = _NO_ROOM.get(error.errno or 0)
    return f"{reason}; {advice}" if advice else reason


def _sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that a new name in it outlives a crash."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---- JSON


class SealError(ValueError):
    """Content that does not fit its checksum."""


def seal(content: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Return the object with a checksum as its last entry.

    Args:
        content: an object of JSON.
        before: the checksum of the object before it in a file, which this one then covers as well.
    """
    return {**content, SEAL: _checksum(content, before)}


def unseal(content: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Check and remove an object's checksum; one that was written without is returned as it is.

    Args:
        content: an object of JSON.
        before: the checksum of the object before it in a file.

    Raises:
        SealError: the content does not fit its checksum.
    """
    plain = {key: value for key, value in content.items() if key != SEAL}
    if SEAL in content:
        if content[SEAL] != _checksum(plain, before):
            raise SealError(f"expected content that fits its {SEAL}, got other content")
        return plain
    # a checksum whose own name was damaged
    if plain:
        last = next(reversed(plain))
        rest = {key: value for key, value in plain.items() if key != last}
        if plain[last] == _checksum(rest, before):
            raise SealError(f"expected the entry {SEAL}, got {last!r}")
    return plain


def _checksum(content: dict[str, Any], before: str) -> str:
    """Compute eight hexadecimal digits over the content, whatever its spacing and order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32((before + text).encode()):08x}"


def write_json(path: str | os.PathLike[str], content: dict[str, Any], name: str | None = None) -> None:
    """Write an object as JSON, with a checksum of its content; errors as of `replacing`."""
    write_bytes(path, (json.dumps(seal(content), indent=2) + "\n").encode(), name)


def read_json(path: str | os.PathLike[str], name: str | None = None) -> dict[str, Any]:
    """Read an object of JSON; without a checksum (an older file) it is taken as it is.

    Args:
        path: the file.
        name: what begins the message of an error; the path when absent.

    Raises:
        FileError: no regular file, no JSON object, or content that does not fit its checksum.
    """
    name = str(path) if name is None else name
    with user_errors(name):
        kind = kind_of(path)
        if kind != "a regular file":
            raise FileError(f"{name}: expected a regular file, got {kind}")
        content = Path(path).read_bytes()
    try:
        return unseal(parse_object(content))
    except SealError as error:
        advice = f"damaged, or edited by hand (then remove its {SEAL})"
        raise FileError(f"{name}: {error}: {advice}") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{name}: expected a JSON object, got {error}") from error


def parse_object(text: bytes) -> dict[str, Any]:
    """Parse the text of a JSON object.

    Raises:
        ValueError: anything else.
    """
    try:
        content = json.loads(text.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"bytes that are no UTF-8 at {error.start}") from error
    except RecursionError as error:
        raise ValueError("too many brackets") from error
    if not isinstance(content, dict):
        raise ValueError(type(content).__name__)
    return content
