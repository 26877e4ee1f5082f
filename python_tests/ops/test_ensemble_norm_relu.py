"""Bias, LayerNorm and ReLU of an ensemble's hidden layer against their definition in float64."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
from torch import Tensor

from ibrl_fast.ops.ensemble_norm_relu import ensemble_norm_relu, ensemble_norm_relu_reference

# ops exports the function by the module's name
module = import_module("ibrl_fast.ops.ensemble_norm_relu")

# num_critics, batch, width: none, one, odd, packs, the paper's width, wider, more rows than parts of the sums
SIZES = [
    (2, 0, 8),
    (1, 1, 3),
    (3, 7, 203),
    (2, 33, 128),
    (5, 9, 1024),
    (2, 3, 2048),
    (1, 5, 1030),
    (2, 600, 16),
]


def make(sizes: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """x, bias and LayerNorm's weights that ask for gradients; x is far from zero mean."""
    num_critics, batch, width = sizes
    generator = torch.Generator().manual_seed(0)
    weight_dtype = torch.float64 if dtype == torch.float64 else torch.float32

    def normal(*shape: int, dtype: torch.dtype, mean: float = 0.0) -> Tensor:
        value = torch.randn(shape, generator=generator, dtype=torch.float64) + mean
        return value.to(device, dtype).requires_grad_(True)

    weights = [normal(num_critics, width, dtype=weight_dtype) for _ in range(3)]
    return [normal(num_critics, batch, width, dtype=dtype, mean=3.0), *weights]


def run(function, given: list[Tensor], error: Tensor) -> list[Tensor]:
    """The result and the gradients of all arguments."""
    result = function(*given)
    return [result.detach(), *torch.autograd.grad(result, given, error.to(result.dtype))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values_and_gradients(device, sizes, dtype) -> None:
    given = make(sizes, dtype, device)
    error = torch.randn(given[0].shape, dtype=torch.float64).to(device, dtype)
    exact = [value.detach().double().requires_grad_(True) for value in given]
    results = zip(
        ("out", "x", "bias", "norm_weight", "norm_bias"),
        run(ensemble_norm_relu, given, error),
        run(ensemble_norm_relu_reference, given, error),
        run(ensemble_norm_relu_reference, exact, error.double()),
        strict=True,
    )
    for name, ours, eager, wanted in results:
        assert ours.dtype == eager.dtype and ours.shape == wanted.shape
        # the norm of the error: at most twice eager torch's, or a few units in the last place; in float64
        # eager torch is what is compared with
        unit = torch.finfo(ours.dtype).eps * (1 + wanted.norm())
        allowed = 2 * (eager.double() - wanted).norm() + (100 if dtype == torch.float64 else 8) * unit
        assert (ours.double() - wanted).norm() <= allowed, name


def test_gradients_by_differences(device) -> None:
    given = make((2, 3, 10), torch.float64, device)
    assert torch.autograd.gradcheck(ensemble_norm_relu, given, atol=1e-6)


@pytest.mark.parametrize("wanted", [(0,), (1, 2, 3)], ids=["x", "weights"])
def test_gradients_that_are_not_wanted_change_nothing(device, wanted) -> None:
    given = make((2, 40, 128), torch.float32, device)
    error = torch.randn(given[0].shape).to(device)
    all_of_them = torch.autograd.grad(ensemble_norm_relu(*given), given, error)
    some = [value if index in wanted else value.detach() for index, value in enumerate(given)]
    grads = torch.autograd.grad(ensemble_norm_relu(*some), [some[index] for index in wanted], error)
    for index, grad in zip(wanted, grads, strict=True):
        assert torch.equal(grad, all_of_them[index])


def test_rows_that_start_anywhere(device) -> None:
    given = [value.detach() for value in make((2, 9, 128), torch.float32, device)]
    # one element off: no vector of four can be read
    odd = [torch.cat([value.new_zeros(1), value.flatten()])[1:].view(value.shape) for value in given]
    torch.testing.assert_close(ensemble_norm_relu(*odd), ensemble_norm_relu(*given), rtol=1e-5, atol=1e-5)


def test_same_bits_every_time(device) -> None:
    given = make((3, 200, 64), torch.bfloat16, device)
    error = torch.randn(given[0].shape).to(device, torch.bfloat16)
    first = run(ensemble_norm_relu, given, error)
    assert all(torch.equal(a, b) for a, b in zip(first, run(ensemble_norm_relu, given, error), strict=True))


def test_not_a_number_reaches_the_result(device) -> None:
    x, *weights = (value.detach() for value in make((2, 5, 128), torch.float32, device))
    x[1, 2, 3] = float("nan")
    out = ensemble_norm_relu(x, *weights)
    assert out[1, 2].isnan().all() and int(out.isnan().sum()) == 128


def test_backward_library_checks(device) -> None:
    x, *weights = (value.detach() for value in make((2, 5, 24), torch.float32, device))
    statistics = (x.new_zeros(2, 5), x.new_ones(2, 5))
    grads = [torch.zeros_like(value) for value in (x, *weights)]
    scratch = x.new_zeros(3 * module._SPLITS * 2 * 24)
    arguments = (x, x, *weights, *statistics, *grads, scratch)
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(module._ensemble_norm_relu_backward, arguments, test_utils=tests)


def test_wrong_arguments_are_refused(device) -> None:
    grads = make((2, 5, 8), torch.float32, device)
    given = [value.detach() for value in grads]
    with pytest.raises(ValueError, match=r"bias: expected \[2, 8\], got \[2, 7\]"):
        ensemble_norm_relu(given[0], given[1][:, :7], *given[2:])
    with pytest.raises(ValueError, match="norm_bias: expected float32, got float64"):
        ensemble_norm_relu(*given[:3], given[3].double())
    with pytest.raises(ValueError, match="x: expected float32 or float64 or bfloat16, got float16"):
        ensemble_norm_relu(given[0].half(), *given[1:])
    with pytest.raises(ValueError, match="out: expected None where a gradient is asked for"):
        ensemble_norm_relu(*grads, out=torch.empty_like(given[0]))
