"""No general room names a method: the names and classes of methods are searched for in the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ibrl_fast
from ibrl_fast.agents import METHODS

ROOT = Path(ibrl_fast.__file__).parent

# the package's and the program's name, and the ops that are named after the paper's equations
PACKAGE_AND_OPS = re.compile(r"ibrl[_-](fast|select|target)", re.IGNORECASE)
# where a method may be named: its own room, and the files that hand it out or set one up
ROOMS = ("agents/", "training/presets.py", "__init__.py")
# single words elsewhere: the default of a run
ALLOWED = {("training/config.py", "IBRLConfig")}


def methods_words() -> re.Pattern[str]:
    """The names of all methods as whole words, and classes that are named after one."""
    names = "|".join(sorted(METHODS, key=len, reverse=True))
    words = rf"(?<![A-Za-z0-9])(?i:{names})(?![A-Za-z0-9])"
    return re.compile(rf"{words}|(?<![A-Za-z0-9])(?:{names.upper()})[A-Z]\w*")


def named_methods(source: str, words: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Line and word of each method that code names: in identifiers, imports and texts, not in docstrings."""
    tree = ast.parse(source)
    docstrings = {
        id(line.value)
        for node in ast.walk(tree)
        for line in (getattr(node, "body", None) if isinstance(getattr(node, "body", None), list) else [])
        if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if id(node) in docstrings:
            continue
        for _, value in ast.iter_fields(node):
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str):
                    found = words.search(PACKAGE_AND_OPS.sub("", text))
                    if found:
                        yield getattr(node, "lineno", 0), found.group()


def test_no_general_room_names_a_method() -> None:
    words = methods_words()
    found, allowed = [], set()
    for file in sorted(ROOT.rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        if name.startswith(ROOMS):
            continue
        for line, word in named_methods(file.read_text(), words):
            if (name, word) in ALLOWED:
                allowed.add((name, word))
            else:
                found.append(f"{name}:{line}: {word}")
    assert found == []
    assert allowed == ALLOWED, "an exception that is no longer needed"


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ('if config.method == "td3": pass', "td3"),
        ("from ibrl_fast.agents.rlpd import anything", "rlpd"),
        ("import ibrl_fast.agents as a; a.IBRLConfig", "IBRLConfig"),
        ("isinstance(agent, TD3Agent)", "TD3Agent"),
        ("is_rpl = True", "rpl"),
        ('f"{x} for ibrl_rpl"', "ibrl_rpl"),
        ("def update_ibrl(): pass", "ibrl"),
        ("make(RLPD=1)", "RLPD"),
        ("from ibrl_fast import ops; ops.ibrl_target", None),
        ('prog = "ibrl-fast train"', None),
        ('def f():\n    """Not IBRL."""\n    # nor td3\n    return "BufferPlan"', None),
    ],
)
def test_the_search_finds_what_it_looks_for(source: str, word: str | None) -> None:
    assert [found for _, found in named_methods(source, methods_words())] == ([] if word is None else [word])
