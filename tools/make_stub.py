"""The kernels' part of ibrl_fast/_core.pyi, written from what the compiled extension says it reads.

    python tools/make_stub.py [--check]

Every op lists its fields by name and kind in `_core.kernel_fields`; each list becomes a `TypedDict`, so that
mypy holds the dict that Python passes against the C++ struct. `--check` writes nothing and fails where the
file on disk is another.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STUB = ROOT / "ibrl_fast" / "_core.pyi"
BEGIN, END = "# --- kernels: written by tools/make_stub.py\n", "# --- end of what is written\n"

LINE = 110  # as in pyproject.toml

# Kinds of csrc/bindings/fields.h in Python's words.
TYPES = {
    "address": "Address",
    "dtype": "DTypeCode",
    "strides": "tuple[int, ...]",
    "int": "int",
    "float": "float",
    "bool": "bool",
}

HEAD = """# An op's fields by name; NAME_cpu returns the place of a bad value, or -1, where it looks for one.
Address: TypeAlias = int
DTypeCode: TypeAlias = int

kernel_fields: dict[str, tuple[tuple[str, str], ...]]
"""


def class_name(op: str) -> str:
    """`sample_rows` -> `SampleRowsFields`."""
    return "".join(word.capitalize() for word in op.split("_")) + "Fields"


def python_type(kind: str) -> str:
    """A kind of field, or a list of one, as an annotation."""
    if kind.startswith("list["):
        return f"list[{TYPES[kind[5:-1]]}]"
    return TYPES[kind]


def kernel_stub(fields: Mapping[str, tuple[tuple[str, str], ...]], returns: Mapping[str, str]) -> str:
    """The generated part.

    Args:
        fields: name -> (field, kind) in the extension's order; ops, and parts that several ops share.
        returns: what each op's CPU function returns; parts have no function.
    """
    text = HEAD
    for name, entries in fields.items():
        text += f"\nclass {class_name(name)}(TypedDict):\n"
        text += "".join(f"    {field}: {python_type(kind)}\n" for field, kind in entries)
    text += "\n"
    for name, returned in returns.items():
        given = f"fields: {class_name(name)}"
        if name.endswith("_scratch"):
            # a count of elements: neither threads nor a stream
            text += "".join(function_line(f"{name}_{on}", given, returned) for on in ("cpu", "cuda"))
            continue
        text += function_line(f"{name}_cpu", f"{given}, threads: int", returned)
        text += function_line(f"{name}_cuda", f"{given}, device: int, stream: int", "None")
    return text + "\n"


def function_line(name: str, arguments: str, returned: str) -> str:
    """A function's declaration, as the formatter wants it."""
    line = f"def {name}({arguments}) -> {returned}: ...\n"
    return line if len(line) <= LINE + 1 else f"def {name}(\n    {arguments}\n) -> {returned}: ...\n"


def read_extension() -> tuple[dict[str, tuple[tuple[str, str], ...]], dict[str, str]]:
    """Fields and results of the extension that is built into the source tree."""
    sys.path.insert(0, str(ROOT))
    from ibrl_fast import _core

    functions = {name: getattr(_core, f"{name}_cpu", None) for name in _core.kernel_fields}
    # pybind11 writes the result behind the arrow of a function's first line
    returns = {
        name: (function.__doc__ or "").splitlines()[0].rpartition("-> ")[2]
        for name, function in functions.items()
        if function is not None
    }
    return _core.kernel_fields, returns


def stub() -> str:
    """The whole file as it should be: what is written by hand stays."""
    before, _, rest = STUB.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{kernel_stub(*read_extension())}{END}{after}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    if not check:
        STUB.write_text(stub())
    elif STUB.read_text() != stub():
        sys.exit(f"{STUB.relative_to(ROOT)}: not what the extension says; run tools/make_stub.py")


if __name__ == "__main__":
    main()
