"""Every instruction set that the CPU kernels are compiled for, where the processor has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from accuracy import assert_as_accurate
from op_cases import NAMES, cases

from ibrl_fast import _core, ops
from ibrl_fast.ops.spatial_embed import spatial_embed_reference

SETS = ("portable", "avx2", "avx512")
CPU = torch.device("cpu")


@pytest.fixture(params=range(len(SETS)), ids=SETS)
def isa(request: pytest.FixtureRequest) -> Iterator[int]:
    """Holds the kernels to one instruction set."""
    if request.param > _core.get_cpu_isa():
        best = SETS[_core.get_cpu_isa()]
        pytest.skip(f"the processor lacks what {SETS[request.param]} needs; its best set is {best}")
    _core.limit_cpu_isa(request.param)
    try:
        assert _core.get_cpu_isa() == request.param
        yield request.param
    finally:
        _core.limit_cpu_isa(-1)


@pytest.mark.parametrize("batch", [1, 33, 700])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("spatial_embed", "mlp")])
def test_same_bits_as_portable_code(name: str, batch: int, isa: int) -> None:
    got = [tensor.clone() for tensor in cases(CPU, batch)[name].run()]
    _core.limit_cpu_isa(0)
    for mine, portable in zip(got, cases(CPU, batch)[name].run(), strict=True):
        assert torch.equal(mine, portable)


@pytest.mark.parametrize("out_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1, 7, 84, 700])
def test_pixels(size: int, out_dtype: torch.dtype, isa: int) -> None:
    """Rows that end inside a vector, and outputs so large that stores bypass the caches."""
    frames = torch.randint(0, 256, (3, 3, 5, size), dtype=torch.uint8)
    rows = torch.randint(0, 3, (400,))
    got, _ = ops.random_shift_gather(frames, rows, pad=0, out_dtype=out_dtype, scale=1 / 255, offset=-0.5)
    exact = frames.double()[rows] * float(torch.tensor(1 / 255)) - 0.5
    assert_as_accurate(got, exact, (frames[rows].float() * (1 / 255) - 0.5).to(out_dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("embed_dim", [1, 15, 64, 100, 300])
def test_spatial_embed_and_its_gradients(embed_dim: int, dtype: torch.dtype, isa: int) -> None:
    """Tiles, single columns, and rows that end inside a pack."""
    generator = torch.Generator().manual_seed(embed_dim)
    shapes = [(4, 5, 2, embed_dim), (2, 3, 4, embed_dim), *[(2, embed_dim)] * 2, (2, 5, embed_dim)]
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    given = [
        torch.randn(shape, generator=generator).to(dtype if place < 2 else wide)
        for place, shape in enumerate(shapes)
    ]
    error = torch.randn(shapes[1], generator=generator)

    def run(function, arguments):
        leaves = [value.clone().requires_grad_(True) for value in arguments]
        out = function(*leaves)
        return [out.detach(), *torch.autograd.grad(out, leaves, error.to(out.dtype))]

    exact = run(spatial_embed_reference, [value.double() for value in given])
    eager = run(spatial_embed_reference, given)
    for mine, theirs, value in zip(run(ops.spatial_embed, given), eager, exact, strict=True):
        assert mine.dtype == theirs.dtype and mine.shape == value.shape
        unit = torch.finfo(dtype).eps * (1.0 + value.norm())
        assert (mine.double() - value).norm() <= 2 * (theirs.double() - value).norm() + 8 * unit
