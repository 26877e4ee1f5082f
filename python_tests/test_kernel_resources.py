"""The tool that reads the CUDA compiler's report, on a report as ptxas writes it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import kernel_resources

REPORT = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN4ibrl19partial_sums_kernelIffEEvNS_11PartialSumsE' for 'sm_90'
ptxas info    : Function properties for _ZN4ibrl19partial_sums_kernelIffEEvNS_11PartialSumsE
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 8 bytes cumulative stack size, 4096 bytes smem
ptxas info    : Compiling entry function '_Z5emptyv' for 'sm_90'
ptxas info    : Function properties for _Z5emptyv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 4 registers, used 0 barriers
"""


def test_every_kernel_of_a_report_is_found() -> None:
    assert kernel_resources.kernels(REPORT) == [
        ("partial_sums_kernel<float, float>", 40, 4, 12, 4096),
        ("empty", 4, 0, 0, 0),
    ]


def test_a_row_covers_the_variants_of_a_kernel() -> None:
    variants = {
        name: {"sm_90": kernel_resources.Kernel(name, *numbers)}
        for name, numbers in {
            "sum_kernel<float>": (40, 4, 12, 4096),
            "sum_kernel<double>": (32, 0, 0, 4096),
            "empty": (4, 0, 0, 0),
        }.items()
    }
    assert kernel_resources.table(variants, ["sm_90"])[2:] == [
        "| `sum_kernel` | 2 | 32 to 40 | 4 / 12 | 4096 |",
        "| `empty` | 1 | 4 | 0 / 0 | 0 |",
    ]


def test_the_table_names_the_kernels_that_there_are() -> None:
    sources = (kernel_resources.ROOT / "csrc" / "kernels").glob("*.cu*")
    names = {name for source in sources for name in re.findall(r"\b[a-z_]+_kernel\b", source.read_text())}
    assert names and names == set(
        re.findall(r"^\| `(\w+)`", kernel_resources.TABLE.read_text(), re.MULTILINE)
    )
