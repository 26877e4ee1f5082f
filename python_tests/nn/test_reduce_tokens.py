"""The pixel critic's reduction of tokens against its reference in float64."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
from torch import Tensor

from ibrl_fast.nn import reduce_tokens as module
from ibrl_fast.nn.reduce_tokens import (
    prefers_reduce_tokens,
    reduce_at_once,
    reduce_tokens,
    reduce_tokens_reference,
)

# ops exports the function by the module's name
spatial_embed_module = import_module("ibrl_fast.ops.spatial_embed")
CPU = torch.device("cpu")


def make(batch: int, proposals: int, embed_dim: int = 24, device: torch.device = CPU) -> list[Tensor]:
    """Two critics, 7 tokens of 5 channels; the patch weight is a slice of a wider one, as in the critic."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(device)

    return [
        normal(batch, 7, 5),
        normal(2, proposals, batch, embed_dim),
        normal(2, embed_dim, 10)[:, :, :7],
        normal(2, embed_dim),
        normal(2, embed_dim),
        normal(2, 5, embed_dim),
    ]


@pytest.mark.parametrize("proposals", [1, 3])
@pytest.mark.parametrize("batch", [0, 1, 257])
@pytest.mark.parametrize("piece", [1, 1000, 2**19])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
def test_values_and_gradients(
    proposals: int,
    batch: int,
    piece: int,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    given = [value.to(dtype).requires_grad_(True) for value in make(batch, proposals)]
    exact = [value.detach().double().requires_grad_(True) for value in given]
    got, wanted = reduce_tokens(*given), reduce_tokens_reference(*exact)
    assert got.shape == wanted.shape == (2, proposals, batch, 24) and got.dtype == dtype
    error = torch.randn(wanted.shape, dtype=torch.float64).to(dtype)
    ours = [got, *torch.autograd.grad(got, given, error)]
    expected = [wanted, *torch.autograd.grad(wanted, exact, error.double())]
    for a, b in zip(ours, expected, strict=True):
        assert float((a.double() - b).detach().norm()) <= tolerance * (1 + float(b.detach().norm()))


def test_bfloat16_is_as_exact_as_its_reference() -> None:
    exact = make(64, 2, embed_dim=256)
    wanted = reduce_tokens_reference(*exact)
    given = [value.float() for value in exact]
    given[1] = given[1].bfloat16()
    errors = []
    for function in (reduce_tokens, reduce_tokens_reference):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = function(*given)
        errors.append(float((got.double() - wanted).norm() / wanted.norm()))
    assert errors[0] <= 2 * errors[1] and errors[0] < 0.02


def test_frozen_weights_pass_the_gradient_to_the_action_alone() -> None:
    given = make(9, 1)
    expected = [value.clone().requires_grad_(True) for value in given]
    (wanted,) = torch.autograd.grad(reduce_tokens_reference(*expected).sum(), expected[1])
    given[1].requires_grad_(True)
    reduce_tokens(*given).sum().backward()
    torch.testing.assert_close(given[1].grad, wanted, rtol=1e-11, atol=1e-11)
    assert all(value.grad is None for value in (given[0], *given[2:]))


# reduce_at_once is the way on CUDA: on the CPU everything but its kernels is tested, on CUDA those too


@pytest.mark.parametrize("proposals", [1, 2])
@pytest.mark.parametrize("batch", [0, 1, 33])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
def test_at_once(device, proposals: int, batch: int, dtype: torch.dtype, tolerance: float) -> None:
    given = [value.to(dtype).requires_grad_(True) for value in make(batch, proposals, device=device)]
    exact = [value.detach().double().requires_grad_(True) for value in given]
    got, wanted = reduce_at_once(*given), reduce_tokens_reference(*exact)
    assert got.shape == wanted.shape == (2, proposals, batch, 24) and got.dtype == dtype
    error = torch.randn(wanted.shape, dtype=torch.float64).to(device, dtype)
    ours = [got, *torch.autograd.grad(got, given, error)]
    expected = [wanted, *torch.autograd.grad(wanted, exact, error.double())]
    for a, b in zip(ours, expected, strict=True):
        assert float((a.double() - b).detach().norm()) <= tolerance * (1 + float(b.detach().norm()))


def test_at_once_by_differences(device) -> None:
    given = [value.requires_grad_(True) for value in make(2, 2, 8, device)]
    assert torch.autograd.gradcheck(reduce_at_once, given, atol=1e-6)


def test_at_once_in_bfloat16_is_as_exact_as_its_reference(device) -> None:
    exact = [value.requires_grad_(True) for value in make(64, 2, 256, device)]
    wanted = reduce_tokens_reference(*exact)
    error = torch.randn(wanted.shape, dtype=torch.float64).to(device)
    results = [[wanted, *torch.autograd.grad(wanted, exact, error)]]
    for function in (reduce_at_once, reduce_tokens_reference):
        given = [value.detach().float().requires_grad_(True) for value in exact]
        with torch.autocast(device.type, dtype=torch.bfloat16):
            got = function(given[0], given[1].bfloat16(), *given[2:])
        results.append([got, *torch.autograd.grad(got, given, error.to(got.dtype))])
        assert all(value.dtype == torch.float32 for value in results[-1][1:])
    for target, ours, eager in zip(*results, strict=True):
        target = target.detach()
        errors = [float((value.detach().double() - target).norm() / target.norm()) for value in (ours, eager)]
        assert errors[0] <= 2 * errors[1] and errors[0] < 0.05


def test_at_once_for_the_actor_makes_no_gradient_of_patches(device, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Tensor | None] = []
    backward = spatial_embed_module.spatial_embed_backward

    def watched(*args) -> None:
        made.extend(args[6:8])
        backward(*args)

    monkeypatch.setattr(spatial_embed_module, "spatial_embed_backward", watched)
    given = make(9, 1, device=device)
    expected = [value.clone().requires_grad_(True) for value in given]
    (wanted,) = torch.autograd.grad(reduce_tokens_reference(*expected).sum(), expected[1])
    given[1].requires_grad_(True)
    reduce_at_once(*given).sum().backward()
    assert made == [None, None] and all(value.grad is None for value in (given[0], *given[2:]))
    torch.testing.assert_close(given[1].grad, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.cuda
@pytest.mark.parametrize("learn", [(0, 1, 2, 3, 4, 5), (1,)], ids=["critics", "actor"])
def test_captured_forward_and_backward_equal_eager(learn: tuple[int, ...]) -> None:
    given = [value.float() for value in make(64, 2, 256, torch.device("cuda", 0))]
    wanted = [given[index].requires_grad_(True) for index in learn]

    def both_ways() -> list[Tensor]:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            got = reduce_at_once(given[0], given[1].bfloat16(), *given[2:])
        return [got, *torch.autograd.grad(got, wanted, torch.ones_like(got))]

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        expected = [value.clone() for value in both_ways()]
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = both_ways()
    for _ in range(2):
        graph.replay()
        torch.cuda.synchronize()
        assert all(torch.equal(a, b) for a, b in zip(captured, expected, strict=True))


def test_which_inputs_prefer_it() -> None:
    assert prefers_reduce_tokens(torch.zeros(2, 1, 3, 4096))
    assert not prefers_reduce_tokens(torch.zeros(2, 1, 3, 24, device="meta"))


def test_wrong_sizes_are_refused() -> None:
    given = make(4, 1)
    with pytest.raises(ValueError, match=r"channel_weight: expected \[2, 5, 24\], got \[2, 6, 24\]"):
        reduce_tokens(*given[:5], torch.zeros(2, 6, 24))
    with pytest.raises(ValueError, match="patch_weight: expected"):
        reduce_tokens(given[0][:3], *given[1:])
