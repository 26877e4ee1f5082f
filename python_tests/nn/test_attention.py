"""Attention against PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch

from ibrl_fast.nn.fast_layers import attention, attention_reference


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("batch", [0, 1, 33])
def test_values_and_gradients(batch, dtype) -> None:
    torch.manual_seed(0)
    given = [torch.randn(batch, 4, 17, 8).to(dtype).requires_grad_(True) for _ in range(3)]
    error = torch.randn(batch, 4, 17, 8).to(dtype)
    exact = [value.detach().double().requires_grad_(True) for value in given]

    def run(function, arguments):
        out = function(*arguments)
        return [out.detach(), *torch.autograd.grad(out, arguments, error.to(out.dtype))]

    wanted = run(attention_reference, exact)
    for ours, eager, value in zip(
        run(attention, given), run(attention_reference, given), wanted, strict=True
    ):
        unit = torch.finfo(dtype).eps * (1 + value.norm())
        assert ours.dtype == dtype
        assert (ours.double() - value).norm() <= 2 * (eager.double() - value).norm() + 4 * unit
