"""The layout that convolutions read: the same values, channels last, one copy."""

from __future__ import annotations

import torch
from torch import nn

from ibrl_fast.nn.fast_layers import image_layout


def test_values_stay(device) -> None:
    image = torch.rand(3, 4, 5, 6, device=device)
    got = image_layout(image)
    assert torch.equal(got, image) and got.is_contiguous(memory_format=torch.channels_last)
    assert image_layout(got) is got


def test_autocast_casts_on_the_way(device) -> None:
    image = torch.rand(3, 4, 5, 6, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        got = image_layout(image)
        assert image_layout(image.double()).dtype == torch.float64
    assert torch.equal(got, image.bfloat16()) and got.is_contiguous(memory_format=torch.channels_last)


def test_tokens_of_a_convolution_are_a_view(device) -> None:
    features = nn.Conv2d(3, 8, 3, device=device)(image_layout(torch.rand(2, 3, 9, 9, device=device)))
    tokens = features.flatten(2).transpose(1, 2)
    assert tokens.is_contiguous() and tokens.data_ptr() == features.data_ptr()


def test_gradients_pass(device) -> None:
    image = torch.rand(2, 3, 4, 4, device=device, requires_grad=True)
    image_layout(image).square().sum().backward()
    assert torch.equal(image.grad, 2 * image.detach())
