"""Every wrong input of every op ends in an exception that names an argument, or in the reference's result."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from op_inputs import OPS, Op, bad_values
from torch import Tensor

from ibrl_fast import ops
from ibrl_fast.ops.scatter_rows import Scatter

CASES = [(name, argument) for name, op in OPS.items() for argument in op.arguments()]


def tensors_of(value: Any) -> Iterator[Tensor]:
    """All tensors in nested lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors_of(each)


def copied(value: Any) -> Any:
    """The same values in other memory."""
    if isinstance(value, Tensor):
        # one that claims more than there is memory for is refused, not read
        return value.detach().clone() if value.numel() < 2**30 else value
    if isinstance(value, Scatter):
        return Scatter(copied(value.target), *value[1:])
    if isinstance(value, (list, tuple)):
        return type(value)(copied(each) for each in value)
    return copy.copy(value)


def run(op: Op, function: Any, given: dict[str, Any]) -> list[Tensor]:
    """What a call returns, or what it has changed."""
    returned = function(**given)
    return list(tensors_of([given.get(name) for name in op.written] if op.written else returned))


def assert_same(got: list[Tensor], expected: list[Tensor]) -> None:
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
        mine, theirs = mine.detach(), theirs.detach()
        tolerance = 2e-5 if mine.dtype not in (torch.bfloat16, torch.float16) else 0.02
        finite = theirs[theirs.isfinite()].double().abs()
        absolute = tolerance * (1.0 + (finite.max().item() if finite.numel() else 0.0))
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=absolute, equal_nan=True)


def check(name: str, argument: str, kind: str, given: dict[str, Any]) -> None:
    """One call: an exception with a name, or the reference's result."""
    op = OPS[name]
    before = {key: copied(value) for key, value in given.items()}
    try:
        got = run(op, op.function, given)
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        # a thing of another kind is this argument's fault; what does not fit together, that of either
        blamed = [argument] if kind in ("alien", "layout") else [*op.arguments(), "rows: entry"]
        named = any(each in str(error) for each in blamed) or "can't allocate memory" in str(error)
        assert named or not op.named, f"{kind}: {error!r}"
        return
    if any(tensor.is_meta for tensor in tensors_of(got)):
        return  # nothing was computed
    large = {key: float(value) for key, value in before.items() if type(value) is int and abs(value) >= 2**63}
    with torch.no_grad():
        assert_same(got, run(op, op.reference, before | large))


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_wrong_argument(name: str, argument: str) -> None:
    op = OPS[name]
    for number, (kind, value) in enumerate(bad_values(op.arguments()[argument])):
        given = op.arguments() | {argument: value}
        try:
            check(name, argument, kind, given)
        except Exception as error:
            raise AssertionError(f"{name}: {argument}: case {number}, {kind}, {value!r}") from error


@pytest.mark.parametrize("name", OPS)
def test_valid_call_equals_the_reference(name: str) -> None:
    op = OPS[name]
    assert_same(run(op, op.function, op.arguments()), run(op, op.reference, op.arguments()))


@pytest.mark.parametrize("name", OPS)
def test_unknown_missing_and_no_arguments(name: str) -> None:
    op = OPS[name]
    with pytest.raises(TypeError):
        op.function()
    with pytest.raises(TypeError, match="surprise"):
        op.function(**op.arguments(), surprise=1)


def test_every_public_op_is_here() -> None:
    assert set(ops.__all__) <= set(OPS)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every tensor in nested lists."""
    if isinstance(value, Tensor):
        yield path
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            yield from places(each, (*path, number))


def replaced(value: Any, path: tuple[Any, ...], tensor: Tensor) -> Any:
    """The same with another tensor in one place."""
    if not path:
        return tensor
    entries = list(value)
    entries[path[0]] = replaced(entries[path[0]], path[1:], tensor)
    return Scatter(*entries) if isinstance(value, Scatter) else type(value)(entries)


def at(value: Any, path: tuple[Any, ...]) -> Tensor:
    for number in path:
        value = value[number]
    return value


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.written or "out" in op.arguments()])
def test_outputs_that_share_memory_with_anything(name: str) -> None:
    op = OPS[name]
    paths = [(argument, path) for argument, value in op.arguments().items() for path in places(value)]
    written = [each for each in paths if each[0] in ("out", *op.written)]
    for out in written:
        for other in paths:
            # two scatters may write into one tensor
            apart = other != out and not out[0] == other[0] == "scatters"
            for shift in (0, 8) if apart else ():
                given = op.arguments()
                both = [at(given[argument], path) for argument, path in (out, other)]
                memory = torch.zeros(64 + max(tensor.nbytes for tensor in both), dtype=torch.uint8)
                for (argument, path), tensor, first in zip((out, other), both, (shift, 0)):
                    view = memory[first : first + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
                    view.copy_(tensor)
                    given[argument] = replaced(given[argument], path, view)
                check(name, out[0], "memory", given)


# --- what once read outside of memory or gave wrong numbers


def test_a_column_of_steps_is_refused_or_read_as_one() -> None:
    table = torch.arange(30, dtype=torch.int32).view(10, 3)
    for step in (table[:, 0], table[:1, 0].expand(10)):
        for gather in (
            lambda step: ops.replay_gather([torch.zeros(10, 2)], torch.tensor([3]), step, stacks=2),
            lambda step: ops.random_shift_gather(
                torch.zeros(10, 1, 4, 4, dtype=torch.uint8), torch.tensor([3]), None, step, stack=2
            ),
        ):
            with pytest.raises(ValueError, match=r"episode_step: expected a contiguous tensor, got strides"):
                gather(step)


@pytest.mark.parametrize("step", [-(2**31), -1, 4, 1000, 2**31 - 1])
def test_steps_that_lead_out_of_the_storage(step: int) -> None:
    steps = torch.zeros(10, dtype=torch.int32)
    steps[3] = step
    message = rf"episode_step: expected 0 to 3 in row 3, got {step}"
    rows, frames = torch.tensor([1, 3]), torch.zeros(10, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(IndexError, match=f"replay_gather: {message}"):
        ops.replay_gather([torch.zeros(10, 2)], rows, steps, stacks=2)
    for pair in ((rows, None), (torch.zeros_like(rows), rows)):
        with pytest.raises(IndexError, match=f"random_shift_gather: {message}"):
            ops.random_shift_gather(frames, *pair, steps, stack=2)
    # a row that is not read may hold anything
    ops.replay_gather([torch.zeros(10, 2)], rows[:1], steps, stacks=2)


@pytest.mark.parametrize("shape", [(10, 3, 4, 0), (10, 3, 0, 4), (10, 0, 4, 4), (10, 3, 0, 0)])
def test_images_without_pixels(shape: tuple[int, ...]) -> None:
    frames, rows = torch.zeros(shape, dtype=torch.uint8), torch.tensor([1, 2])
    obs, next_obs = ops.random_shift_gather(frames, rows, rows)
    assert obs.shape == next_obs.shape == (2, *shape[1:])
    with pytest.raises(IndexError, match="rows: entry 0"):
        ops.random_shift_gather(frames, rows + 100, rows)


def test_steps_that_no_counter_holds() -> None:
    for step in (-1, -(2**40), 2**32 - 1, 2**32, 2**62):
        arguments = OPS["adam_update"].arguments() | {"step": torch.tensor([step])}
        with pytest.raises(ValueError, match=f"step: expected 0 to 4294967294, got {step}"):
            ops.adam_update(**arguments)
        assert arguments["step"].item() == step
        assert torch.equal(arguments["values"], OPS["adam_update"].arguments()["values"])
