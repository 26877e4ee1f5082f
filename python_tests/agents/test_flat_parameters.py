"""Parameters in one storage: modules notice nothing, and losing a view is an error, never a silent stop."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from ibrl_fast.agents.flat_parameters import ALIGNMENT, FlatParameters


def make_module(dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> nn.Sequential:
    """A convolution in channels_last, a bias of one number, a norm."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(5 * 16, 1), nn.LayerNorm(1))
    return module.to(device, dtype).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_parameter_becomes_a_view_and_nothing_else_changes(
    device: torch.device, dtype: torch.dtype
) -> None:
    module, x = make_module(dtype, device), torch.randn(4, 3, 6, 6, dtype=dtype, device=device)
    before, expected = list(module.parameters()), module(x)
    values = [parameter.detach().clone() for parameter in before]
    flat = FlatParameters(module.parameters())
    after = list(module.parameters())
    assert all(a is b for a, b in zip(before, after, strict=True))
    for parameter, value, offset in zip(after, values, flat.offsets):
        assert torch.equal(parameter, value) and parameter.stride() == value.stride()
        assert parameter.data_ptr() == flat.values[offset:].data_ptr()
        assert parameter.data_ptr() % ALIGNMENT == 0
        assert parameter.is_leaf and parameter.requires_grad
    assert after[0].is_contiguous(memory_format=torch.channels_last) and not after[0].is_contiguous()
    torch.testing.assert_close(module(x), expected)
    # what is left between them is zero
    assert flat.values.count_nonzero() == sum(int(value.count_nonzero()) for value in values)
    assert flat.values.dtype == dtype and flat.values.dim() == 1


def test_gradients_are_handed_over_in_the_layout_of_their_parameters() -> None:
    module = make_module()
    flat = FlatParameters(module.parameters())
    module(torch.randn(4, 3, 6, 6)).sum().backward()
    for parameter in flat.parameters:
        assert parameter.grad is not None and parameter.grad.stride() == parameter.stride()


def test_writing_keeps_the_views(tmp_path) -> None:
    module, other = make_module(), make_module()
    for parameter in other.parameters():
        nn.init.normal_(parameter)
    flat = FlatParameters(module.parameters())
    module.load_state_dict(other.state_dict())
    module.to("cpu", torch.float32)
    with torch.no_grad():
        module[0].weight.mul_(2.0)
    flat.check()
    expected = [other[0].weight.detach() * 2.0, *(p.detach() for p in list(other.parameters())[1:])]
    for parameter, value in zip(flat.parameters, expected, strict=True):
        assert torch.equal(parameter, value)
    flat.values.zero_()
    assert all(not parameter.any() for parameter in module.parameters())


@pytest.mark.parametrize("way", ["data", "to", "second group"])
def test_a_lost_view_is_found(way: str) -> None:
    module = make_module()
    flat = FlatParameters(module.parameters())
    position = 0
    if way == "data":
        position = 1
        module[0].bias.data = torch.zeros(5)
    elif way == "to":
        module.double()
    else:
        FlatParameters(module.parameters()).check()
    with pytest.raises(
        ValueError, match=rf"parameters\[{position}\]: expected the view that FlatParameters made"
    ):
        flat.check()


def test_a_copy_has_values_of_its_own() -> None:
    module = make_module()
    flat = FlatParameters(module.parameters())
    copied = copy.deepcopy(module)
    for parameter, original in zip(copied.parameters(), flat.parameters, strict=True):
        assert torch.equal(parameter, original) and parameter.stride() == original.stride()
        assert parameter.untyped_storage().nbytes() == 4 * parameter.numel()


def test_a_whole_group_is_saved_once() -> None:
    def size(module: nn.Module) -> int:
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        return len(file.getvalue())

    module = nn.Sequential(*(nn.Linear(64, 64) for _ in range(4)))
    before = size(module)
    FlatParameters(module.parameters())
    assert size(module) <= before


def test_empty_parameters_and_gaps_in_memory() -> None:
    odd = nn.Parameter(torch.arange(12.0).view(3, 4)[:, ::2])
    flat = FlatParameters([nn.Parameter(torch.zeros(0)), odd, nn.Parameter(torch.ones(1))])
    flat.check()
    assert torch.equal(odd, torch.tensor([[0.0, 2.0], [4.0, 6.0], [8.0, 10.0]])) and odd.is_contiguous()
    assert flat.offsets == [0, 0, 16] and len(flat.values) == 32


def test_what_cannot_share_a_storage_is_refused() -> None:
    one = nn.Parameter(torch.zeros(2))
    with pytest.raises(
        ValueError, match="parameters: expected one or more, all different, got 2, 1 different"
    ):
        FlatParameters([one, one])
    with pytest.raises(ValueError, match="parameters: expected one or more, all different, got 0"):
        FlatParameters([])
    with pytest.raises(
        ValueError, match=r"parameters\[1\]: expected torch.float32 on cpu like the first, got"
    ):
        FlatParameters([one, nn.Parameter(torch.zeros(2).double())])
