"""The linear layer: values, gradients and strides against float64."""

from __future__ import annotations

import pytest
import torch

from ibrl_fast.nn import fast_layers as module
from ibrl_fast.nn.fast_layers import linear, linear_reference

# (batch, in, out): oneDNN's sizes, sizes below its threshold, odd ones, nothing at all
SIZES = [
    (128, 256, 256),
    (257, 43, 257),
    (64, 1024, 512),
    (128, 256, 1),
    (1, 1024, 1024),
    (3, 5, 7),
    (0, 8, 4),
]


def tensors(batch: int, in_dim: int, out_dim: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, in_dim, generator=generator, dtype=torch.float64)
    weight = torch.randn(out_dim, in_dim, generator=generator, dtype=torch.float64)
    bias = torch.randn(out_dim, generator=generator, dtype=torch.float64)
    return tuple(value.to(dtype).requires_grad_(True) for value in (x, weight, bias))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_and_gradients_are_as_exact_as_pytorchs(
    size: tuple[int, int, int], dtype: torch.dtype
) -> None:
    given = tensors(*size, dtype)
    exact = [value.detach().double().requires_grad_(True) for value in given]
    expected = linear_reference(*exact)
    error = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    error = error.to(dtype).double()
    wanted = [expected, *torch.autograd.grad(expected, exact, error)]

    def distances(function: object) -> list[float]:
        assert callable(function)
        y = function(*given)
        got = [y, *torch.autograd.grad(y, given, error.to(dtype))]
        assert all(value.dtype == dtype for value in got)
        return [float((g.double() - w).norm() / (w.norm() + 1e-30)) for g, w in zip(got, wanted, strict=True)]

    floor = 1e-14 if dtype == torch.float64 else 2e-7
    for ours, pytorchs in zip(distances(linear), distances(linear_reference), strict=True):
        assert ours <= 2 * pytorchs + floor


@pytest.mark.skipif(module._onednn_linear is None, reason="this build of PyTorch has no oneDNN")
def test_large_float32_products_take_onednn_and_others_do_not() -> None:
    def takes(*size: int, dtype: torch.dtype = torch.float32) -> bool:
        x, weight, _ = tensors(*size, dtype)
        return module._prefers_onednn(x, weight)

    assert takes(128, 256, 256) and takes(257, 1024, 1024)
    assert not takes(128, 256, 1) and not takes(1, 2048, 2048) and not takes(4, 16, 16)
    assert not takes(128, 256, 256, dtype=torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not takes(128, 256, 256)
        assert linear(*tensors(128, 256, 256, torch.float32)).dtype == torch.bfloat16


def test_leading_dimensions_strides_and_no_bias() -> None:
    x = torch.randn(256, 6, 128).transpose(0, 1)
    weight = torch.randn(128, 300).t()
    expected = linear_reference(x.double(), weight.double())
    torch.testing.assert_close(linear(x, weight).double(), expected, rtol=1e-4, atol=1e-4)
    assert linear(x, weight).shape == (6, 256, 300)


def test_only_wanted_gradients_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = tensors(128, 256, 256, torch.float32)
    products = []
    original = module._product
    monkeypatch.setattr(module, "_product", lambda *args: products.append(1) or original(*args))
    linear(x, weight.detach(), bias.detach()).sum().backward()
    assert weight.grad is None and x.grad is not None
    assert module._onednn_linear is None or len(products) == 2


def test_traced_code_takes_pytorchs_way() -> None:
    class Layer(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return linear(x, torch.ones(256, 256))

    exported = torch.export.export(Layer(), (torch.randn(128, 256),))
    assert "mkldnn" not in str(exported.graph)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(RuntimeError):
        linear(torch.zeros(256, 255), torch.zeros(256, 256))
