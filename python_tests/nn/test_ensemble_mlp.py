"""The ensemble of MLPs, the CPU's way and CUDA's, against batched products in float64."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ibrl_fast.nn.ensemble_mlp import ensemble_mlp, mlp_in_batches
from ibrl_fast.ops.mlp import mlp_reference

CPU = torch.device("cpu")


def make(
    num_critics: int, hidden: list[int], layer_norm: bool, dtype: torch.dtype, device: torch.device = CPU
) -> list[Tensor]:
    """Weights of an ensemble with 9 inputs and 2 outputs."""
    generator = torch.Generator().manual_seed(0)
    widths, parameters = [9, *hidden], []

    def normal(*shape: int) -> Tensor:
        return (
            torch.randn(shape, generator=generator, dtype=torch.float64)
            .to(device, dtype)
            .requires_grad_(True)
        )

    for in_dim, out_dim in pairwise(widths):
        parameters += [normal(num_critics, out_dim, in_dim), normal(num_critics, out_dim)]
        if layer_norm:
            parameters += [normal(num_critics, out_dim), normal(num_critics, out_dim)]
    return [*parameters, normal(num_critics, 2, widths[-1]), normal(num_critics, 2)]


@pytest.mark.parametrize("batch", [0, 1, 257])
@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("hidden", [[], [33], [256, 128]])
@pytest.mark.parametrize("subset", [None, [2], [2, 0]])
@pytest.mark.parametrize("shared", [True, False])
def test_values_and_gradients(
    batch: int, layer_norm: bool, hidden: list[int], subset: list[int] | None, shared: bool
) -> None:
    chosen = None if subset is None else torch.tensor(subset)
    count = 3 if subset is None else len(subset)
    x64 = torch.randn(1 if shared else count, batch, 9, dtype=torch.float64)
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 2e-5)):
        parameters = make(3, hidden, layer_norm, dtype)
        exact = [value.detach().double().requires_grad_(True) for value in parameters]
        x, x_exact = x64.to(dtype).requires_grad_(True), x64.to(dtype).double().requires_grad_(True)
        got = ensemble_mlp(x, parameters, layer_norm=layer_norm, subset=chosen)
        wanted = mlp_reference(x_exact, exact, layer_norm=layer_norm, subset=chosen)
        assert got.shape == wanted.shape == (count, batch, 2) and got.dtype == dtype
        error = torch.randn(wanted.shape, dtype=torch.float64).to(dtype)
        pairs = zip(
            [got, *torch.autograd.grad(got, [x, *parameters], error)],
            [wanted, *torch.autograd.grad(wanted, [x_exact, *exact], error.double())],
            strict=True,
        )
        for ours, expected in pairs:
            difference = (ours.double() - expected).norm() if expected.numel() else torch.zeros(())
            assert float(difference) <= tolerance * (1 + float(expected.norm()))


def test_bfloat16_is_as_exact_as_batched_autocast() -> None:
    parameters = make(3, [64, 64], True, torch.float32)
    x = torch.randn(1, 200, 9)
    exact = mlp_reference(x.double(), [p.detach().double() for p in parameters], layer_norm=True)
    error = torch.randn(exact.shape)
    errors = []
    for function in (ensemble_mlp, mlp_reference):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = function(x, parameters, layer_norm=True)
        assert y.dtype == torch.bfloat16
        grads = torch.autograd.grad(y.float(), parameters, error)
        assert all(grad.dtype == torch.float32 for grad in grads)
        errors.append(float((y.double() - exact).norm() / exact.norm()))
    assert errors[0] <= 2 * errors[1] and errors[0] < 0.02


# mlp_in_batches is the way on CUDA: on the CPU everything but its kernels is tested, on CUDA those too


@pytest.mark.parametrize("batch", [0, 1, 40])
@pytest.mark.parametrize(
    ("layer_norm", "hidden"), [(True, []), (True, [33]), (True, [64, 32]), (False, [33])]
)
@pytest.mark.parametrize("subset", [None, [2, 0]])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-5)])
def test_in_batches(
    device,
    batch: int,
    layer_norm: bool,
    hidden: list[int],
    subset: list[int] | None,
    shared: bool,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    chosen = None if subset is None else torch.tensor(subset, device=device)
    count = 3 if subset is None else len(subset)
    x = torch.randn(1 if shared else count, batch, 9).to(device, dtype).requires_grad_(True)
    given = [x, *make(3, hidden, layer_norm, dtype, device)]
    exact = [value.detach().double().requires_grad_(True) for value in given]
    error = torch.randn(count, batch, 2, dtype=torch.float64).to(device, dtype)
    results = []
    for function, (first, *parameters) in ((mlp_in_batches, given), (mlp_reference, exact)):
        y = function(first, parameters, layer_norm=layer_norm, subset=chosen)
        results.append([y, *torch.autograd.grad(y, [first, *parameters], error.to(y.dtype))])
    for ours, wanted in zip(*results, strict=True):
        assert ours.shape == wanted.shape and ours.dtype == dtype
        assert float((ours.double() - wanted).norm()) <= tolerance * (1 + float(wanted.norm()))


def test_in_batches_in_bfloat16_is_as_exact_as_its_reference(device) -> None:
    parameters = make(3, [64, 64], True, torch.float32, device)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 200, 9, generator=generator).to(device)
    exact = [parameter.detach().double().requires_grad_(True) for parameter in parameters]
    wanted = mlp_reference(x.double(), exact, layer_norm=True)
    error = torch.randn(wanted.shape, generator=generator).to(device)
    results = [[wanted, *torch.autograd.grad(wanted, exact, error.double())]]
    for function in (mlp_in_batches, mlp_reference):
        with torch.autocast(device.type, dtype=torch.bfloat16):
            y = function(x, parameters, layer_norm=True)
        assert y.dtype == torch.bfloat16
        results.append([y, *torch.autograd.grad(y.float(), parameters, error)])
        assert all(grad.dtype == torch.float32 for grad in results[-1][1:])
    for target, ours, eager in zip(*results, strict=True):
        errors = [float((value.double() - target).norm() / target.norm()) for value in (ours, eager)]
        assert errors[0] <= 2 * errors[1] and errors[0] < 0.1


def test_frozen_weights_get_no_gradient_and_pass_it_on() -> None:
    parameters = make(2, [16, 16], True, torch.float64)
    x = torch.randn(1, 5, 9, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(ensemble_mlp(x, parameters, layer_norm=True).sum(), x)
    for parameter in parameters:
        parameter.requires_grad_(False)
    ensemble_mlp(x, parameters, layer_norm=True).sum().backward()
    assert torch.equal(x.grad, expected) and all(parameter.grad is None for parameter in parameters)


def test_wrong_member_count_is_refused() -> None:
    parameters = make(3, [8], True, torch.float64)
    with pytest.raises(ValueError, match=r"x: expected \[1 or 3, batch, in_dim\], got \[2, 4, 9\]"):
        ensemble_mlp(torch.zeros(2, 4, 9, dtype=torch.float64), parameters, layer_norm=True)
