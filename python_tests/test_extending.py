"""docs/extending.md says what the sources say."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ibrl_fast
from ibrl_fast.agents import Learner, MethodConfig

PACKAGE = Path(ibrl_fast.__file__).parent
ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "extending.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def rows(first_heading: str) -> list[str]:
    """The names in the first column of the table that begins with a heading."""
    table = TEXT.split(f"| `{first_heading}` |")[1].split("\n\n")[0]
    firsts = [line.split("|")[1] for line in table.splitlines()[2:]]
    return [name for first in firsts for name in re.findall(r"`(\w+)`", first)]


def members(cls: type) -> set[str]:
    """What a class itself declares, privates apart."""
    routines = {
        name
        for name, value in vars(cls).items()
        if inspect.isroutine(value) or isinstance(value, (classmethod, property))
    }
    own = routines | set(inspect.get_annotations(cls))
    return {name for name in own if not name.startswith("_")}


def test_the_diff_of_a_method_is_its_file_and_its_line() -> None:
    whole, line = blocks("diff")[:2]
    name, *added = whole.splitlines()
    file = ROOT / name.removeprefix("+++ ")
    assert all(text.startswith("+") for text in added)
    assert "".join(text[1:] + "\n" for text in added) == file.read_text()

    name, before, after = line.splitlines()
    table = (ROOT / name.removeprefix("+++ ")).read_text()
    assert f"{before[1:]}\n{after[1:]}\n" in table
    # that line is the method's: it leads to the file
    assert f"{file.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')}:" in after
    # under a page
    assert len(whole.splitlines()) + len(line.splitlines()) < 50


def test_the_diffs_of_worlds_are_lines_of_their_files() -> None:
    for diff in blocks("diff")[2:]:
        name, *added = diff.splitlines()
        lines = (ROOT / name.removeprefix("+++ ")).read_text().splitlines()
        assert added and all(text[1:] in lines for text in added)


def test_the_tables_name_every_member() -> None:
    assert set(rows("MethodConfig")) == members(MethodConfig)
    assert set(rows("Learner")) == members(Learner)


def test_the_script_adds_a_method_to_the_command_line(tmp_path: Path) -> None:
    script = blocks("python")[0]
    (tmp_path / "train.py").write_text(script)
    shutil.copy(ROOT / "python_tests" / "training" / "own_method.py", tmp_path)
    command = [sys.executable, "train.py", "train", "--method", "mine", "--agent.rate", "0.01", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "COLUMNS": "200"}
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert "|mine (here: mine)" in out.stdout
    assert "--agent.rate" in out.stdout and "--agent.beta" not in out.stdout


def test_everything_that_is_linked_or_named_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
    for name in re.findall(r"`((?:ibrl_fast|python_tests)/[\w/.]+)`", TEXT):
        assert (ROOT / name).exists(), name
    for guide in ("README.md", "CONTRIBUTING.md"):
        assert "(docs/extending.md)" in (ROOT / guide).read_text()
