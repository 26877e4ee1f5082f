"""Files are written whole or not at all, where they belong, and readable to whom the umask says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_helpers import ROOT, run_python

from ibrl_fast.errors import FileError
from ibrl_fast.files import check_output, check_output_folder, replacing, write_bytes

NOT_REGULAR = [("/dev/full", "a device"), ("/dev/null", "a device")]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077], indirect=True)
def test_the_mode_follows_the_umask(tmp_path: Path, umask: int) -> None:
    for _ in range(2):  # a new file, and one that is replaced
        write_bytes(tmp_path / "a", b"1")
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077], indirect=True)
def test_every_kind_of_file_follows_the_umask(tmp_path: Path, umask: int) -> None:
    from demonstration_files import make_demo

    from ibrl_fast.data import write_demonstrations
    from ibrl_fast.training.records.checkpoint import save_checkpoint

    save_checkpoint(tmp_path / "checkpoint.pt", {"number": 1})
    write_demonstrations(tmp_path / "demos.hdf5", [make_demo()])
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask, path


def test_folders_are_made_and_links_followed(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new" / "deep" / "a", b"1")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "new" / "deep" / "a")
    write_bytes(link, b"2")
    assert link.is_symlink() and (tmp_path / "new" / "deep" / "a").read_bytes() == b"2"

    # a link that leads nowhere yet
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "elsewhere" / "b")
    write_bytes(dangling, b"3")
    assert dangling.is_symlink() and (tmp_path / "elsewhere" / "b").read_bytes() == b"3"


@pytest.mark.parametrize(("place", "kind"), NOT_REGULAR)
@pytest.mark.parametrize("through_link", [False, True])
def test_only_regular_files_are_written(tmp_path: Path, place: str, kind: str, through_link: bool) -> None:
    before = os.stat(place)
    path = Path(place)
    if through_link:
        path = tmp_path / "link"
        path.symlink_to(place)
    for write in (lambda: write_bytes(path, b"1", "out"), lambda: check_output(path, "out")):
        with pytest.raises(FileError) as caught:
            write()
        assert str(caught.value) == f"out: expected a regular file, got {path} ({kind})"
    assert os.stat(place).st_rdev == before.st_rdev


def test_pipes_folders_and_files_as_folders(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"old")
    for name, message in (
        ("pipe", r"out: expected a regular file, got .*pipe \(a pipe\)"),
        ("", r"out: expected a regular file, got .* \(a folder\)"),
        ("file/under", "out: (Not a directory|File exists)"),
    ):
        with pytest.raises(FileError, match=message):
            write_bytes(tmp_path / name, b"1", "out")
        with pytest.raises(FileError, match=message):
            check_output(tmp_path / name, "out")
    with pytest.raises(FileError, match=r"out: expected a folder, got .*file \(a regular file\)"):
        check_output_folder(tmp_path / "file", "out")
    assert names(tmp_path) == ["file", "pipe"]


def test_check_output_leaves_only_folders(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    assert check_output(tmp_path / "old", "out") == tmp_path / "old"
    assert check_output(tmp_path / "new" / "a", "out") == tmp_path / "new" / "a"
    assert check_output_folder(tmp_path / "folder" / "deep", "out").is_dir()
    assert names(tmp_path / "new") == names(tmp_path / "folder" / "deep") == []
    assert (tmp_path / "old").read_bytes() == b"old"


def test_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    """Also root is refused by a file system such as /proc."""
    for path in ("/proc/new/file", "/proc/self/new"):
        with pytest.raises(FileError, match=r"^out: "):
            check_output(path, "out")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_an_error_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(error), replacing(tmp_path / "a") as temporary:
        temporary.write_bytes(b"half")
        raise error("x")
    assert (tmp_path / "a").read_bytes() == b"old" and names(tmp_path) == ["a"]


def test_names_of_any_length(tmp_path: Path) -> None:
    for name in ("x" * 255, "ö" * 127, "x" * 100 + "." + "y" * 100, ".hidden", "a.pt2"):
        write_bytes(tmp_path / name, b"1")
        assert names(tmp_path) == [name]
        (tmp_path / name).unlink()
    with replacing(tmp_path / "a.pt2") as temporary:
        assert temporary.suffix == ".pt2" and temporary.name.startswith(f".a.pt2.part-{os.getpid()}-")
        temporary.write_bytes(b"1")


KILLED = """
import sys, time
from ibrl_fast.files import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print(temporary.name, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old")
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "a")]
    writer = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert writer.stdout is not None
    leftover = writer.stdout.readline().strip()

    # not while it works
    write_bytes(tmp_path / "b", b"1")
    assert names(tmp_path) == sorted([leftover, "a", "b"])
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert (tmp_path / "a").read_bytes() == b"old"
    write_bytes(tmp_path / "b", b"2")
    assert names(tmp_path) == ["a", "b"]


def test_files_with_other_names_are_left_alone(tmp_path: Path) -> None:
    for name in (".a.part", ".a.part-99999999-12", "a.part-99999999-12345678", ".a.part-x-12345678"):
        (tmp_path / name).write_bytes(b"mine")
    before = names(tmp_path)
    write_bytes(tmp_path / "b", b"1")
    assert names(tmp_path) == sorted([*before, "b"])


# ---- no room


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("70000", "File too large; this file system or process may not write files of that size"),
        (None, "No space left on device; make room and run the command again"),
    ],
    ids=["limited size", "full disk"],
)
def test_no_room_is_one_error_for_every_kind_of_file(
    request: pytest.FixtureRequest, tmp_path: Path, limit: str | None, reason: str
) -> None:
    """A limit on the size of files stands for a full disk where none can be mounted."""
    folder = tmp_path if limit else request.getfixturevalue("tiny_disk")
    script = str(Path(__file__).with_name("write_without_room.py"))
    errors = run_python(script, str(folder), *([limit] if limit else [])).splitlines()
    assert len(errors) == 5
    for error in errors:
        assert str(folder) in error and error.endswith(f": {reason}")
