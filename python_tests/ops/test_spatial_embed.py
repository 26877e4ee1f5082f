"""The pixel critic's LayerNorm, ReLU and weighted sum against its definition in float64."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
from torch import Tensor

from ibrl_fast import _core
from ibrl_fast.ops.spatial_embed import spatial_embed, spatial_embed_reference

# ops exports the function by the module's name
module = import_module("ibrl_fast.ops.spatial_embed")

# batch, channels, embed_dim, proposals, num_critics: none, few, a pack and single values, whole packs, the
# paper's width, wider, odd
SIZES = [
    (0, 3, 8, 1, 1),
    (1, 1, 3, 1, 2),
    (2, 7, 203, 1, 2),
    (257, 3, 24, 2, 1),
    (3, 5, 128, 3, 3),
    (4, 16, 1024, 2, 2),
    (5, 9, 1024, 1, 2),
    (3, 5, 2048, 1, 2),
    (3, 6, 1030, 2, 1),
]
DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def make(sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Arguments that ask for gradients; the features are far from zero mean."""
    batch, channels, embed_dim, proposals, num_critics = sizes
    generator = torch.Generator().manual_seed(0)
    weight_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    shapes = [
        (batch, channels, num_critics, embed_dim),
        (num_critics, proposals, batch, embed_dim),
        (num_critics, embed_dim),
        (num_critics, embed_dim),
        (num_critics, channels, embed_dim),
    ]
    given = []
    for index, shape in enumerate(shapes):
        value = torch.randn(shape, generator=generator, dtype=torch.float64) + (3.0 if index == 0 else 0.0)
        given.append(value.to(device, dtype if index < 2 else weight_dtype).requires_grad_(True))
    return given


def run(function, given: list[Tensor], error: Tensor) -> list[Tensor]:
    """The result and the gradients of all arguments."""
    result = function(*given)
    return [result.detach(), *torch.autograd.grad(result, given, error.to(result.dtype))]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values_and_gradients(device, sizes, dtype) -> None:
    given = make(sizes, dtype, device)
    error = torch.randn(given[1].shape, dtype=torch.float64).to(device, dtype)
    got = run(spatial_embed, given, error)
    eager = run(spatial_embed_reference, given, error)
    exact = [value.detach().double().requires_grad_(True) for value in given]
    for name, ours, torchs, wanted in zip(
        ("out", "patches", "extra", "norm_weight", "norm_bias", "channel_weight"),
        got,
        eager,
        run(spatial_embed_reference, exact, error.double()),
        strict=True,
    ):
        assert ours.dtype == torchs.dtype and ours.shape == wanted.shape
        # the norm of the error: at most twice eager torch's, or some units in the last place (in float64 the
        # eager value is the reference itself: what is allowed is another order of a sum over the batch)
        unit = torch.finfo(ours.dtype).eps * (1 + wanted.norm())
        allowed = 2 * (torchs.double() - wanted).norm() + (32 if ours.dtype == torch.float64 else 8) * unit
        assert (ours.double() - wanted).norm() <= allowed, name


def test_gradients_by_differences(device) -> None:
    given = make((2, 3, 10, 2, 2), torch.float64, device)
    assert torch.autograd.gradcheck(spatial_embed, given, atol=1e-6)


@pytest.mark.parametrize("wanted", [(1,), (0, 1), (1, 2, 3, 4)], ids=["action", "features", "weights"])
def test_gradients_that_are_not_wanted_change_nothing(device, wanted) -> None:
    given = make((3, 5, 128, 2, 2), torch.float32, device)
    error = torch.randn(given[1].shape).to(device)
    all_of_them = torch.autograd.grad(spatial_embed(*given), given, error)
    some = [value if index in wanted else value.detach() for index, value in enumerate(given)]
    grads = torch.autograd.grad(spatial_embed(*some), [some[index] for index in wanted], error)
    for index, grad in zip(wanted, grads, strict=True):
        assert torch.equal(grad, all_of_them[index])


def test_views_are_read_and_written_in_place(device) -> None:
    patches, extra, *weights = (value.detach() for value in make((4, 5, 128, 2, 2), torch.float32, device))
    wide, out = torch.zeros(2, 2, 9, 128, device=device), torch.zeros(2, 2, 9, 128, device=device)
    wide[:, :, 3:7] = extra
    module.spatial_embed_forward(patches, wide[:, :, 3:7], weights, out[:, :, 3:7])
    assert torch.equal(out[:, :, 3:7], spatial_embed(patches, extra, *weights))
    assert not out[:, :, :3].any() and not out[:, :, 7:].any()


def test_members_do_not_touch_each_other(device) -> None:
    given = make((5, 6, 128, 2, 3), torch.float32, device)
    error = torch.randn(given[1].shape).to(device)
    together = run(spatial_embed, given, error)
    for member in range(3):
        patches, *others = (value.detach() for value in given)
        one = [patches[:, :, member : member + 1].contiguous(), *(x[member : member + 1] for x in others)]
        alone = run(spatial_embed, [x.requires_grad_(True) for x in one], error[member : member + 1])
        for index, (a, b) in enumerate(zip(alone, together, strict=True)):
            assert torch.equal(
                a[:, :, 0] if index == 1 else a[0], b[:, :, member] if index == 1 else b[member]
            )


def test_same_bits_every_time(device) -> None:
    given = make((70, 20, 128, 1, 2), torch.bfloat16, device)
    error = torch.randn(given[1].shape).to(device, torch.bfloat16)
    first = run(spatial_embed, given, error)
    assert all(torch.equal(a, b) for a, b in zip(first, run(spatial_embed, given, error), strict=True))


def test_rows_that_start_anywhere(device) -> None:
    given = [value.detach() for value in make((3, 5, 128, 2, 2), torch.float32, device)]
    # one element off: no vector of four can be read
    odd = []
    for value in given:
        flat = torch.zeros(value.numel() + 1, device=device)
        flat[1:] = value.flatten()
        odd.append(flat[1:].view(value.shape))
    torch.testing.assert_close(spatial_embed(*odd), spatial_embed(*given), rtol=1e-5, atol=1e-5)


def test_not_a_number_reaches_the_result(device) -> None:
    patches, *others = (value.detach() for value in make((3, 5, 128, 1, 2), torch.float32, device))
    patches[1, 2, 1, 3] = float("nan")
    out = spatial_embed(patches, *others)
    assert out[1, 0, 1].isnan().all() and not out[1, 0, [0, 2]].isnan().any() and not out[0].isnan().any()


def test_library_checks(device) -> None:
    given = [value.detach() for value in make((3, 5, 72, 2, 2), torch.float32, device)]
    patches, extra, *weights = given
    out, mean, rstd = torch.empty_like(extra), patches.new_empty(2, 2, 3, 5), patches.new_empty(2, 2, 3, 5)
    torch.library.opcheck(module._spatial_embed, (*given, 1e-5, out, mean, rstd))
    grads = [torch.zeros_like(value) for value in (extra, patches, *weights)]
    scratch = patches.new_zeros(2**16)
    tests = ("test_schema", "test_faketensor")
    arguments = (extra, *given, mean.fill_(0.0), rstd.fill_(1.0), *grads, scratch)
    torch.library.opcheck(module._spatial_embed_backward, arguments, test_utils=tests)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_instruction_set_is_as_exact(dtype) -> None:
    given = make((3, 5, 203, 2, 2), dtype, torch.device("cpu"))
    error = torch.randn(given[1].shape).to(dtype)
    exact = [value.detach().double().requires_grad_(True) for value in given]
    wanted = run(spatial_embed_reference, exact, error.double())
    tolerance = 4e-3 if dtype == torch.bfloat16 else 2e-6
    try:
        for isa in range(_core.get_cpu_isa() + 1):
            _core.limit_cpu_isa(isa)
            for ours, value in zip(run(spatial_embed, given, error), wanted, strict=True):
                assert (ours.double() - value).norm() <= tolerance * (1 + value.norm())
    finally:
        _core.limit_cpu_isa(-1)


def test_number_of_threads_changes_nothing() -> None:
    given = make((17, 9, 300, 2, 2), torch.float32, torch.device("cpu"))
    error, before, results = torch.randn(given[1].shape), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(run(spatial_embed, given, error))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_wrong_arguments_are_refused(device) -> None:
    grads = make((3, 5, 8, 2, 2), torch.float32, device)
    given = [value.detach() for value in grads]
    with pytest.raises(ValueError, match=r"extra: expected \[2, proposals, 3, 8\], got \[2, 2, 3, 7\]"):
        spatial_embed(given[0], given[1][..., :7], *given[2:])
    with pytest.raises(ValueError, match=r"channel_weight: expected \[2, 5, 8\], got \[2, 4, 8\]"):
        spatial_embed(*given[:4], given[4][:, :4])
    with pytest.raises(ValueError, match="norm_bias: expected float32, got float64"):
        spatial_embed(*given[:3], given[3].double(), given[4])
    with pytest.raises(ValueError, match="patches: expected float32 or float64 or bfloat16, got int64"):
        spatial_embed(given[0].long(), *given[1:])
    with pytest.raises(ValueError, match=r"out: expected \[2, 2, 3, 8\], got \[2, 2, 3, 9\]"):
        spatial_embed(*given, out=torch.zeros(2, 2, 3, 9, device=device))
    with pytest.raises(ValueError, match="out: expected None where a gradient is asked for"):
        spatial_embed(*grads, out=torch.empty_like(given[1]))
