"""Registers, spills and shared memory of every CUDA kernel, as the compiler reports them.

    python tools/kernel_resources.py [--arch sm_80 sm_90] [--nvcc nvcc] [--check | --all]

Compiles each csrc/kernels/*_cuda.cu alone and writes docs/kernels.md, a row for the variants of a kernel;
needs nvcc and no GPU. `--check` writes nothing and fails where the page on disk is not the one that this
compiler gives. `--all` writes nothing and prints every variant.
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

Written by `tools/kernel_resources.py` with nvcc {}; nothing measured. A kernel is compiled for several
element types, layouts and, where it is elementwise, ops: the table has the smallest and the largest of these
variants, `tools/kernel_resources.py --all` prints each. Registers are those of a thread; spills the bytes
that go to local memory, stores / loads, of the worst variant; shared memory in bytes, as known at compile
time.

Row kernels (`RowColumns<element, computed in, pack, groups>`) take pack 4 and one group for rows of up to
1024 elements whose packs are aligned; the other layouts serve odd or wider rows and float64.

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


def compile_all(nvcc: str, archs: list[str]) -> dict[str, dict[str, Kernel]]:
    """Variant -> architecture -> what the compiler says, in the order of the files."""
    found: dict[str, dict[str, Kernel]] = {}
    for source in sorted((ROOT / "csrc" / "kernels").glob("*_cuda.cu")):
        for arch in archs:
            for kernel in sorted(kernels(report(nvcc, source, arch))):
                found.setdefault(kernel.name, {})[arch] = kernel
    return found


def table(variants: dict[str, dict[str, Kernel]], archs: list[str]) -> list[str]:
    """The lines of a table with a row for each kernel, whatever its template arguments."""
    families: dict[str, list[dict[str, Kernel]]] = {}
    for name, of_arch in variants.items():
        families.setdefault(name.partition("<")[0], []).append(of_arch)
    columns = " | ".join(f"{arch} registers | spills | shared" for arch in archs)
    lines = [f"| kernel | variants | {columns} |", "|---|---|" + "---|" * (3 * len(archs))]
    for name, family in families.items():
        cells = []
        for arch in archs:
            of_arch = [variant[arch] for variant in family]
            worst = max(of_arch, key=lambda kernel: kernel.spill_stores + kernel.spill_loads)
            cells.append(
                f"{smallest_to_largest([kernel.registers for kernel in of_arch])} | "
                f"{worst.spill_stores} / {worst.spill_loads} | "
                f"{smallest_to_largest([kernel.shared for kernel in of_arch])}"
            )
        lines.append(f"| `{name}` | {len(family)} | {' | '.join(cells)} |")
    return lines


def smallest_to_largest(numbers: list[int]) -> str:
    """`7` or `3 to 9`."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def page(nvcc: str, archs: list[str], variants: dict[str, dict[str, Kernel]]) -> str:
    """The whole of docs/kernels.md."""
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release ([\d.]+)", version)
    return HEAD.format(release[1] if release else "?") + "\n".join(table(variants, archs)) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", nargs="+", default=["sm_80", "sm_90"])
    parser.add_argument("--nvcc", default="nvcc")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true")
    choice.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    variants = compile_all(arguments.nvcc, arguments.arch)
    if arguments.all:
        for of_arch in variants.values():
            for arch, kernel in of_arch.items():
                print(arch, *kernel)
        return
    text = page(arguments.nvcc, arguments.arch, variants)
    if not arguments.check:
        TABLE.write_text(text)
    elif not TABLE.exists() or TABLE.read_text() != text:
        sys.exit(f"{TABLE.relative_to(ROOT)}: not what this compiler gives; run tools/kernel_resources.py")


if __name__ == "__main__":
    main()
