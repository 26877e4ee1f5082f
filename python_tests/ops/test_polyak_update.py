import pytest
import torch
from accuracy import assert_as_accurate

from ibrl_fast.ops import polyak_update
from ibrl_fast.ops.polyak_update import polyak_update_reference

SIZES = [(0,), (1,), (257,), (64, 33), (3, 5, 7), (300, 257)]


def tensors(dtype, sizes=SIZES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype) for size in sizes]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rho", [0.0, 0.99, 1.0])
def test_equals_definition(device, rho, dtype) -> None:
    targets, online = tensors(dtype), tensors(dtype, seed=1)
    moved = [t.to(device, copy=True) for t in targets]
    polyak_update(moved, [o.to(device) for o in online], rho)
    eager = [t.clone() for t in targets]
    polyak_update_reference(eager, online, rho)
    for got, target, source, plain in zip(moved, targets, online, eager):
        exact = rho * target.double() + (1.0 - rho) * source.double()
        if dtype == torch.float64:
            torch.testing.assert_close(got.cpu(), exact, rtol=1e-15, atol=1e-15)
        else:
            assert_as_accurate(got.cpu(), exact, plain)


def test_more_tensors_than_one_launch_takes(device) -> None:
    sizes = [(i % 5,) for i in range(300)]
    targets, online = tensors(torch.float32, sizes), tensors(torch.float32, sizes, seed=1)
    moved = [t.to(device, copy=True) for t in targets]
    polyak_update(moved, [o.to(device) for o in online], 0.5)
    polyak_update_reference(targets, online, 0.5)
    assert all(torch.equal(a.cpu(), b) for a, b in zip(moved, targets))


def test_unaligned_views_and_dense_layouts(device) -> None:
    base, source = torch.randn(1001, device=device), torch.randn(1001, device=device)
    expected = base.clone()
    polyak_update_reference([expected[1:]], [source[1:]], 0.9)
    polyak_update([base[1:]], [source[1:]], 0.9)
    assert torch.equal(base, expected)

    image = torch.randn(4, 3, 5, 6, device=device).to(memory_format=torch.channels_last)
    online = torch.randn_like(image)
    expected = 0.9 * image + (1.0 - 0.9) * online
    polyak_update([image], [online], 0.9)
    torch.testing.assert_close(image, expected)


def test_parameters_that_need_gradients(device) -> None:
    online = torch.nn.Linear(5, 6, device=device)
    target = torch.nn.Linear(5, 6, device=device)
    expected = 0.5 * target.weight.detach() + 0.5 * online.weight.detach()
    polyak_update(list(target.parameters()), list(online.parameters()), 0.5)
    torch.testing.assert_close(target.weight.detach(), expected)
    assert target.weight.is_leaf and target.weight.requires_grad


def test_nothing_to_do() -> None:
    polyak_update([], [], 0.5)


A, B = torch.zeros(4, 3), torch.zeros(3, 4).t()


@pytest.mark.parametrize(
    ("targets", "online", "rho", "message"),
    [
        ([A], [], 0.5, "online: expected 1 tensors, one for each target, got 0"),
        ([A], [torch.zeros(4, 2)], 0.5, "online[0]: expected [4, 3], got [4, 2]"),
        ([A], [A.double()], 0.5, "online[0]: expected float32, got float64"),
        ([A.half()], [A.half()], 0.5, "targets[0]: expected float32 or float64, got float16"),
        ([A, A.double()], [A, A.double()], 0.5, "targets[1]: expected float32, got float64"),
        ([A], [B], 0.5, "online[0]: expected the dense strides (3, 1) of its target, got (1, 4)"),
        (
            [torch.zeros(4, 6)[:, ::2]],
            [torch.zeros(4, 6)[:, ::2]],
            0.5,
            "targets[0]: expected a tensor dense in memory, got strides (6, 2)",
        ),
        ([A], [A], 1.5, "rho: expected a value in [0, 1], got 1.5"),
    ],
)
def test_bad_arguments(targets, online, rho, message) -> None:
    with pytest.raises(ValueError) as error:
        polyak_update(targets, online, rho)
    assert str(error.value) == message
