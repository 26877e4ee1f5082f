"""Registers, spills and shared memory of every CUDA kernel, as the compiler reports them.

    python tools/kernel_resources.py [--arch sm_80 sm_90] [--nvcc nvcc] [--check]

Compiles each csrc/kernels/*_cuda.cu alone and writes docs/kernels.md; needs nvcc and no GPU. `--check` writes
nothing and fails where the table on disk is not the one that this compiler gives.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "kernels.md"
HEAD = """# Resources of the CUDA kernels

Written by `tools/kernel_resources.py` with nvcc {}; nothing measured.
Registers of a thread; bytes spilled to local memory, stores / loads; bytes of shared memory known at
compile time. Row kernels (`RowColumns<element, computed in, pack, groups>`) take pack 4 and one group
for rows of up to 1024 elements whose packs are aligned; the other layouts serve odd or wider rows and
float64.

"""


class Kernel(NamedTuple):
    """One entry function on one architecture; sizes in bytes."""

    name: str
    registers: int
    spill_stores: int
    spill_loads: int
    shared: int


def report(nvcc: str, source: Path, arch: str) -> str:
    """What ptxas says about a source file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            nvcc,
            "-std=c++17",
            "-O3",
            f"-arch={arch}",
            "-I",
            str(ROOT / "csrc"),
            "-Xptxas",
            "-v",
            "-c",
        ]
        result = subprocess.run(
            [*command, str(source), "-o", str(Path(folder) / "kernel.o")], capture_output=True, text=True
        )
    if result.returncode:
        sys.exit(f"{source.name}, {arch}:\n{result.stderr}")
    return result.stderr


def kernels(text: str) -> list[Kernel]:
    """The kernels of a report, in its order."""
    found = []
    for part in text.split("Compiling entry function '")[1:]:

        def number(pattern: str, part: str = part) -> int:
            match = re.search(pattern, part)
            return int(match[1]) if match else 0

        found.append(
            Kernel(
                readable(part[: part.index("'")]),
                number(r"Used (\d+) registers"),
                number(r"(\d+) bytes spill stores"),
                number(r"(\d+) bytes spill loads"),
                number(r"(\d+) bytes smem"),
            )
        )
    return found


def readable(mangled: str) -> str:
    """A kernel's name and template arguments, without namespaces and parameters."""
    name = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout.strip()
    name = name.removeprefix("void ").replace("(anonymous namespace)::", "").replace("ibrl::", "")
    name = re.sub(r"_GLOBAL__N__\w+::|\((?:bool|int)\)", "", name)
    depth, kept = 0, ""
    for letter in name:
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            break
        kept += letter
    return kept


def table(nvcc: str, archs: list[str]) -> str:
    """The page, one row per kernel."""
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release ([\d.]+)", version)
    lines = HEAD.format(release[1] if release else "?").splitlines()
    columns = " | ".join(f"{arch} registers | spills | shared" for arch in archs)
    lines += [f"| kernel | {columns} |", "|---|" + "---|" * (3 * len(archs))]
    for source in sorted((ROOT / "csrc" / "kernels").glob("*_cuda.cu")):
        rows: dict[str, dict[str, Kernel]] = {}
        for arch in archs:
            for kernel in kernels(report(nvcc, source, arch)):
                rows.setdefault(kernel.name, {})[arch] = kernel
        for name, of_arch in sorted(rows.items()):
            cells = [
                f"{k.registers} | {k.spill_stores} / {k.spill_loads} | {k.shared}"
                for k in (of_arch[arch] for arch in archs)
            ]
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", nargs="+", default=["sm_80", "sm_90"])
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = table(arguments.nvcc, arguments.arch)
    if not arguments.check:
        TABLE.write_text(text)
    elif not TABLE.exists() or TABLE.read_text() != text:
        sys.exit(f"{TABLE.relative_to(ROOT)}: not what this compiler gives; run tools/kernel_resources.py")


if __name__ == "__main__":
    main()
