"""A whole MLP or ensemble as one op, against its layers in float64."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from ibrl_fast import _core
from ibrl_fast.ops.mlp import mlp, mlp_reference

# ops exports the function by the module's name
module = import_module("ibrl_fast.ops._mlp_kernels")
SETS = ("portable", "avx2", "avx512")


class Net(NamedTuple):
    """A network and its inputs: `extra` of the widths[0] inputs come by proposal, where there are any."""

    members: int
    batch: int
    widths: tuple[int, ...]
    layer_norm: bool
    proposals: int = 1
    extra: int = 0
    shared: bool = True
    dropout: bool = False
    tanh: bool = False


# batches 0 to 300, widths 1 to 1100, 1 to 12 members, 0 to 4 hidden layers; panels that are full, half or
# nearly empty, rows of a proposal that end inside a panel, tiles that end inside a vector
NETS = [
    Net(2, 128, (43, 256, 256, 1), True, proposals=2, extra=4),
    Net(1, 128, (39, 256, 256, 4), False, dropout=True, tanh=True),
    Net(1, 1, (7, 5, 3), True, dropout=True),
    Net(3, 17, (9, 33, 5, 2), True, extra=3, shared=False, dropout=True, tanh=True),
    Net(3, 33, (9, 3, 65, 2, 2), False, proposals=3, extra=9, shared=False),
    Net(12, 2, (1, 1, 2), True),
    Net(2, 300, (7, 1100, 3), True, tanh=True),
    Net(2, 31, (1100, 20, 1), True, extra=1, dropout=True),
    Net(2, 65, (7, 5), True, proposals=2, extra=2),
    Net(5, 100, (12, 17, 16, 15, 14, 2), True, proposals=2, extra=2, dropout=True),
    Net(1, 16, (3, 8, 8, 8, 8, 40), False, tanh=True),
    Net(2, 0, (7, 5, 3), True, proposals=2, extra=2),
    Net(2, 4, (3, 6, 2), True, proposals=0, extra=1),
]


@pytest.fixture(params=range(len(SETS)), ids=SETS)
def isa(request: pytest.FixtureRequest) -> Iterator[int]:
    """Holds the kernels to one instruction set."""
    if request.param > _core.get_cpu_isa():
        pytest.skip(f"the processor lacks what {SETS[request.param]} needs")
    _core.limit_cpu_isa(request.param)
    try:
        yield request.param
    finally:
        _core.limit_cpu_isa(-1)


def make(net: Net, dtype: torch.dtype, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Arguments of a call, whose floating tensors ask for gradients, but for the mask."""
    generator = torch.Generator().manual_seed(sum(net.widths))

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        value = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
        return value.to(device, dtype).requires_grad_(True)

    parameters = []
    for place, (in_dim, out_dim) in enumerate(pairwise(net.widths)):
        parameters += [normal(net.members, out_dim, in_dim, scale=in_dim**-0.5), normal(net.members, out_dim)]
        if net.layer_norm and place < len(net.widths) - 2:
            parameters += [normal(net.members, out_dim), normal(net.members, out_dim)]
    inputs = 1 if net.shared else net.members
    given: dict[str, Any] = {
        "x": normal(inputs, net.batch, net.widths[0] - net.extra),
        "parameters": parameters,
        "layer_norm": net.layer_norm,
        "tanh": net.tanh,
    }
    if net.extra:
        given["extra"] = normal(net.proposals, net.batch, net.extra)
    if net.dropout:
        keep = torch.rand(net.proposals * net.batch, sum(net.widths[1:-1]), generator=generator) < 0.75
        given["mask"] = (keep / 0.75).to(device, dtype)
    return given


def leaves(given: dict[str, Any]) -> list[Tensor]:
    """What a gradient is asked for."""
    extra = [given["extra"]] if "extra" in given else []
    return [given["x"], *extra, *given["parameters"]]


def run(function, given: dict[str, Any]) -> list[Tensor]:
    """The result and all gradients."""
    result = function(**given)
    generator = torch.Generator().manual_seed(5)
    error = torch.randn(result.shape, generator=generator, dtype=torch.float64).to(
        result.device, result.dtype
    )
    return [result.detach(), *torch.autograd.grad(result, leaves(given), error)]


def doubled(value: Any) -> Any:
    """The same numbers in float64, as leaves of their own."""
    if isinstance(value, Tensor):
        return value.detach().double().requires_grad_(value.requires_grad)
    return [doubled(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("net", NETS, ids=str)
def test_values_and_gradients(net: Net, dtype: torch.dtype, isa: int) -> None:
    given = make(net, dtype)
    exact = {name: doubled(value) for name, value in given.items()}
    results = zip(run(mlp, given), run(mlp_reference, given), run(mlp_reference, exact), strict=True)
    for place, (ours, eager, wanted) in enumerate(results):
        assert ours.dtype == dtype and ours.shape == wanted.shape
        # the norm of the error: at most twice eager torch's, or a few units in the last place; in float64
        # eager torch is what is compared with
        unit = torch.finfo(dtype).eps * (1 + wanted.norm())
        allowed = 2 * (eager.double() - wanted).norm() + (100 if dtype == torch.float64 else 8) * unit
        assert (ours.double() - wanted).norm() <= allowed, place


@pytest.mark.parametrize("net", [NETS[3], Net(2, 3, (4, 5, 3, 1), False, proposals=2, extra=2)], ids=str)
def test_gradients_by_differences(net: Net) -> None:
    given = make(net, torch.float64)
    count = len(leaves(given)) - len(given["parameters"])

    def call(*tensors: Tensor) -> Tensor:
        extra = {"extra": tensors[1]} if count == 2 else {}
        return mlp(**{**given, "x": tensors[0], **extra, "parameters": list(tensors[count:])})

    assert torch.autograd.gradcheck(call, leaves(given), atol=1e-6)


@pytest.mark.parametrize("net", [NETS[0], NETS[3], NETS[9]], ids=str)
def test_same_bits_every_time_and_with_any_number_of_threads(net: Net) -> None:
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 1, 2, 5):
            torch.set_num_threads(threads)
            results.append(run(mlp, make(net, torch.float32)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("wanted", ["x", "extra", "parameters", "one weight"])
def test_gradients_that_are_not_wanted_change_nothing(wanted: str) -> None:
    given = make(NETS[0], torch.float32)
    _, grad_x, grad_extra, *grads = run(mlp, given)
    for leaf in leaves(given):
        leaf.requires_grad_(False)
    chosen, expected = {
        "x": ([given["x"]], [grad_x]),
        "extra": ([given["extra"]], [grad_extra]),
        "parameters": (given["parameters"], grads),
        "one weight": (given["parameters"][4:5], grads[4:5]),
    }[wanted]
    for leaf in chosen:
        leaf.requires_grad_(True)
    result = mlp(**given)
    error = torch.randn(result.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64).float()
    for got, known in zip(torch.autograd.grad(result, chosen, error), expected, strict=True):
        assert torch.equal(got, known)


def test_values_are_the_same_with_and_without_gradients() -> None:
    for net in (NETS[0], NETS[3], NETS[4]):
        given = make(net, torch.float32)
        with torch.no_grad():
            assert torch.equal(mlp(**given), mlp(**given).detach())
            out = torch.empty(net.members, net.proposals * net.batch, net.widths[-1])
            assert mlp(**given, out=out) is out
        assert torch.equal(mlp(**given), out)


def test_members_of_a_subset(isa: int) -> None:
    given = make(NETS[4]._replace(shared=True), torch.float32)
    with torch.no_grad():
        picked = mlp(**given, subset=torch.tensor([2, 0, 2]))
        assert torch.equal(picked, mlp(**given)[[2, 0, 2]])
        with pytest.raises(IndexError, match="subset: expected members 0 to 2, got 3"):
            mlp(**given, subset=torch.tensor([1, 3]))
    with pytest.raises(ValueError, match="subset: expected None where a gradient is asked for"):
        mlp(**given, subset=torch.tensor([1]))


def test_a_single_network_needs_no_first_dimension() -> None:
    given = make(NETS[1], torch.float32)
    expected = run(mlp, given)
    given["parameters"] = [value.detach()[0].requires_grad_(True) for value in given["parameters"]]
    for got, wanted in zip(run(mlp, given), expected, strict=True):
        assert torch.equal(got.view(wanted.shape), wanted)


def test_inputs_and_weights_with_any_strides() -> None:
    given = make(NETS[3], torch.float32)
    expected = run(mlp, given)
    odd: dict[str, Any] = dict(given)
    for name in ("x", "extra"):
        odd[name] = given[name].detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_(True)
    odd["mask"] = torch.cat([given["mask"], given["mask"]], 1)[:, : given["mask"].shape[1]]
    odd["parameters"] = [
        torch.stack([value.detach()] * 2, -1)[..., 0].requires_grad_(True) for value in given["parameters"]
    ]
    for got, wanted in zip(run(mlp, odd), expected, strict=True):
        assert torch.equal(got, wanted)


def test_not_a_number_reaches_the_result(isa: int) -> None:
    given = make(Net(2, 40, (6, 20, 20, 3), True), torch.float32)
    given["x"] = given["x"].detach()
    given["x"][0, 37, 2] = float("nan")
    with torch.no_grad():
        out = mlp(**given)
    assert out[:, 37].isnan().all() and int(out.isnan().sum()) == 6


def test_second_derivatives_are_refused() -> None:
    given = make(Net(1, 4, (3, 5, 2), True), torch.float64)
    (grad,) = torch.autograd.grad(mlp(**given).square().sum(), [given["x"]], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_weights_changed_before_the_backward_are_noticed() -> None:
    given = make(Net(1, 4, (3, 5, 2), True), torch.float64)
    out = mlp(**given)
    with torch.no_grad():
        given["parameters"][0].add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_composition_where_there_is_no_kernel(device) -> None:
    """On CUDA the op is its reference; on the CPU this is one more comparison."""
    for net in (NETS[3], NETS[4]):
        given, on_cpu = make(net, torch.float64, device), make(net, torch.float64)
        for got, wanted in zip(run(mlp, given), run(mlp, on_cpu), strict=True):
            torch.testing.assert_close(got.cpu(), wanted, rtol=1e-9, atol=1e-9)


def test_backward_library_checks() -> None:
    given = make(NETS[3], torch.float32)
    x, extra, mask, *parameters = (
        value.detach() for value in (given["x"], given["extra"], given["mask"], *given["parameters"])
    )
    plan = module.MLPPlan(parameters, True)
    out = torch.zeros(3, 17, 2)
    sizes = plan.sizes(3, 17)
    saved, scratch, flat = (torch.zeros(size) for size in (sizes.saved, sizes.backward, plan.size))
    arguments = (
        x, extra, mask, parameters, plan.widths, True, True, sizes.slots, out, saved,
        out, torch.zeros_like(x), torch.zeros_like(extra), flat, plan.offsets, scratch,
    )  # fmt: skip
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(module._mlp_backward, arguments, test_utils=tests)
    with pytest.raises(ValueError, match=f"scratch: expected at least {sizes.backward} elements, got 7"):
        module._mlp_backward(*arguments[:-1], scratch[:7])


def test_wrong_arguments_are_refused() -> None:
    given = make(Net(2, 5, (6, 8, 3), True, extra=2), torch.float32)
    weight, bias, *others = given["parameters"]

    def refuse(match: str, error: type[Exception] = ValueError, **changed: Any) -> None:
        with pytest.raises(error, match=match):
            mlp(**{**given, **changed})

    refuse(r"parameters\[1\]: expected \[2, 8\], got \[2, 7\]", parameters=[weight, bias[:, :7], *others])
    refuse(r"parameters\[1\]: expected float32, got float64", parameters=[weight, bias.double(), *others])
    refuse(r"parameters\[0\]: expected \[2, out, 7\], got \[2, 8, 6\]", x=torch.zeros(1, 5, 5))
    refuse(
        "parameters: expected 2 and 4 for each of at most 15 hidden layers", parameters=[weight, bias, bias]
    )
    refuse(r"x: expected \[1 or 2, batch, x_dim\], got \[3, 5, 4\]", x=torch.zeros(3, 5, 4))
    refuse("x: expected float32 or float64, got float16", x=torch.zeros(1, 5, 4).half())
    refuse(r"extra: expected \[proposals, 5, extra_dim\], got \[1, 4, 2\]", extra=torch.zeros(1, 4, 2))
    refuse(r"mask: expected \[5, 8\], got \[5, 7\]", mask=torch.zeros(5, 7))
    refuse("out: expected None where a gradient is asked for", out=torch.zeros(2, 5, 3))
    refuse("layer_norm: expected a bool", TypeError, layer_norm=1)
    refuse("tanh: expected a bool", TypeError, tanh=None)
    refuse("parameters: expected a list or tuple", TypeError, parameters=weight)
