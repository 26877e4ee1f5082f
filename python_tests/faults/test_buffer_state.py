"""A damaged or forged buffer state: one error that names the field, and the buffer stays as it was."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from small_buffers import assert_same, fill, make_buffer, make_demo, observation, proposals
from torch import Tensor

OPTIONS = {"demo_capacity": 13, "num_demos": 2, "stacks": {"state": 3, "front": 2}}


def saved_state() -> dict[str, Any]:
    """A state with demonstrations, and evicted, finished and running episodes."""
    buffer, rng = make_buffer(**OPTIONS), np.random.default_rng(0)
    buffer.add_demonstrations([make_demo(rng), make_demo(rng, 4)], [proposals(rng, 7), proposals(rng, 5)])
    fill(buffer, rng, 95, length=8)
    return buffer.state_dict()


STATE = saved_state()


def other_buffer() -> Any:
    """A buffer of the same sizes that holds something else."""
    buffer = make_buffer(**OPTIONS, seed=9)
    fill(buffer, np.random.default_rng(3), 17, length=6)
    return buffer


def paths(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The way to every field of nested dicts."""
    if not isinstance(value, dict):
        return [path]
    found = [path] if path else []
    for key, entry in value.items():
        found += paths(entry, (*path, key))
    return found


def at(state: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        state = state[key]
    return state


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The state with another value in one field."""
    state = copy.deepcopy(STATE)
    at(state, path[:-1])[path[-1]] = value
    return state


def assert_refused(state: Any, *names: str) -> None:
    """One ValueError that names the field, and nothing changed."""
    buffer = other_buffer()
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="state") as error:
        buffer.load_state_dict(state)
    assert any(name in str(error.value) for name in names), f"{error.value} names none of {names}"
    assert_same(buffer.state_dict(), before)
    # it works on, and is not locked
    buffer.sample(8)


def names_of(path: tuple[str, ...]) -> list[str]:
    """How an error can name this field."""
    inner = "".join(f"[{key!r}]" for key in path)
    # what the bookkeeping says may not fit the columns, and the other way round
    related = ["state['columns']", "state['index']"] if path[0] == "index" else []
    return [f"state{inner}", *related]


def test_the_state_itself_is_accepted() -> None:
    file = io.BytesIO()
    torch.save(STATE, file)
    file.seek(0)
    buffer = other_buffer()
    buffer.load_state_dict(torch.load(file, weights_only=True))
    assert_same(buffer.state_dict(), STATE)


@pytest.mark.parametrize("path", paths(STATE), ids="/".join)
def test_a_field_that_is_missing_or_of_another_kind(path: tuple[str, ...]) -> None:
    state = copy.deepcopy(STATE)
    del at(state, path[:-1])[path[-1]]
    assert_refused(state, path[-1])
    wrong = (None, "x", -1, 1.5, [1, 2], torch.zeros(2, dtype=torch.int8), torch.tensor(1 + 2j), object())
    for value in wrong:
        assert_refused(changed(path, value), *names_of(path))


TENSORS = [path for path in paths(STATE) if isinstance(at(STATE, path), Tensor)]


@pytest.mark.parametrize("path", TENSORS, ids="/".join)
def test_a_tensor_of_another_shape_or_dtype(path: tuple[str, ...]) -> None:
    value = at(STATE, path)
    others = [value[:-1], torch.cat([value, value[:1]]), value.unsqueeze(0), value.unsqueeze(-1), value[:0]]
    others += [value.to(dtype) for dtype in (torch.float64, torch.int16) if dtype != value.dtype]
    others += [value.to_sparse(), value.to("meta"), value.new_zeros(1).expand(2**40, *value.shape[1:])]
    for other in others:
        if (
            other.shape != value.shape
            or other.dtype != value.dtype
            or other.layout != value.layout
            or other.is_meta
        ):
            assert_refused(changed(path, other), *names_of(path))


def entry_changes(value: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Copies with one entry, then all, set to numbers that the buffer would not have written there."""
    numbers: list[Any] = [float("nan"), float("inf"), -float("inf")]
    if not value.is_floating_point():
        limits = torch.iinfo(value.dtype)
        numbers = [-(2**62), -(2**31), -1, 1000, 10**6, 2**31 - 1, 2**40, 2**62, limits.max]
        numbers = [number for number in numbers if limits.min <= number <= limits.max]
    changes = []
    for number in numbers:
        one = value.clone()
        place = int(torch.randint(value.numel(), (), generator=generator))
        one.view(-1)[place] = number
        changes += [one, torch.full_like(value, number)]
    return changes


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in TENSORS
        if at(STATE, path).dtype not in (torch.bool, torch.uint8) and path != ("counter",)
    ],
    ids="/".join,
)
def test_values_that_no_buffer_writes(path: tuple[str, ...]) -> None:
    generator = torch.Generator().manual_seed(len(path[-1]))
    for value in entry_changes(at(STATE, path), generator):
        assert_refused(changed(path, value), *names_of(path))


@pytest.mark.parametrize("name", ["action", "il_action"])
def test_actions_out_of_range(name: str) -> None:
    value = STATE["columns"][name].clone()
    value[3] = 1.5
    assert_refused(changed(("columns", name), value), f"state['columns']['{name}']")


@pytest.mark.parametrize("name", ["terminated", "truncated"])
def test_flags_that_are_neither_true_nor_false_or_in_the_middle(name: str) -> None:
    value = STATE["columns"][name].clone()
    value.view(torch.uint8)[2] = 7
    assert_refused(changed(("columns", name), value), f"state['columns']['{name}']")
    assert_refused(changed(("columns", name), torch.ones_like(value)), f"state['columns']['{name}']")


def test_counters_and_seeds_that_are_none() -> None:
    for value in (-1, -(2**63)):
        assert_refused(changed(("counter",), torch.tensor([value])), "state['counter']")
    for seed in (-1, True, 2.0, np.float64(3), torch.tensor(3), "3"):
        assert_refused(changed(("seed",), seed), "state['seed']")


@pytest.mark.parametrize("value", [None, [], 3, "state", {}, {"format": 1}])
def test_no_state_at_all(value: Any) -> None:
    assert_refused(value, "state")


def test_unknown_columns() -> None:
    for path in (("columns", "table"), ("columns", "x"), ("index", "x")):
        assert_refused(changed(path, torch.zeros(3)), path[-1])


# --- bookkeeping that does not fit together


def forged(name: str, change: Callable[[Tensor], Any]) -> dict[str, Any]:
    value = STATE["index"][name].clone()
    result = change(value)
    return changed(("index", name), value if result is None else result)


def swap(value: Tensor, a: int, b: int) -> Tensor:
    order = list(range(len(value)))
    order[a], order[b] = order[b], order[a]
    return value[order]


@pytest.mark.parametrize(
    "state",
    [
        # a row twice, a row of no step, a demonstration among the online rows
        forged("table", lambda table: table.__setitem__(0, int(table[1]))),
        forged("table", lambda table: table.__setitem__(-1, int(table[-1]) + 1)),
        forged("table", lambda table: swap(table, 0, len(table) - 1)),
        # counts that are off by one
        *(
            forged("counts", lambda counts, i=i, n=n: counts.__setitem__(i, int(counts[i]) + n))
            for i in range(4)
            for n in (-1, 1)
        ),
        # episodes: another region, order, start, length; one twice, one less
        *(
            forged(
                "episodes",
                lambda episodes, i=i, column=column, n=n: episodes[i].__setitem__(
                    column, int(episodes[i, column]) + n
                ),
            )
            for i in (0, 1, 2, -1)
            for column in range(3)
            for n in (-1, 1, 50)
        ),
        forged("episodes", lambda episodes: swap(episodes, 0, 1)),
        forged("episodes", lambda episodes: swap(episodes, 2, 3)),
        forged("episodes", lambda episodes: torch.cat([episodes, episodes[-1:]])),
        forged("episodes", lambda episodes: episodes[:-1]),
        forged("episodes", lambda episodes: episodes[1:]),
        # the episode under way: elsewhere, longer, over, neither
        *(
            forged(
                "current",
                lambda current, e=e, column=column, n=n: current[e].__setitem__(
                    column, int(current[e, column]) + n
                ),
            )
            for e in (0, 1)
            for column in range(3)
            for n in (-1, 1)
        ),
        forged("current", lambda current: swap(current, 0, 1)),
    ],
)
def test_bookkeeping_that_contradicts_itself(state: dict[str, Any]) -> None:
    assert_refused(state, "state['index']", "state['columns']")


@pytest.mark.parametrize("name", ["episode_step", "is_tail"])
def test_columns_that_contradict_the_bookkeeping(name: str) -> None:
    for shift in (1, 2, 7):
        assert_refused(
            changed(("columns", name), STATE["columns"][name].roll(shift)), f"state['columns']['{name}']"
        )


def test_any_bytes_changed_at_random() -> None:
    """Whatever is accepted can be drawn from and appended to."""
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    accepted = 0
    for _ in range(300):
        path = TENSORS[rng.integers(len(TENSORS))]
        value = at(STATE, path).clone().contiguous()
        flat = value.view(-1).view(torch.uint8)
        for place in torch.randint(flat.numel(), (int(rng.integers(1, 4)),), generator=generator).tolist():
            flat[place] = int(rng.integers(256))
        buffer = other_buffer()
        before = buffer.state_dict()
        try:
            buffer.load_state_dict(changed(path, value))
        except ValueError as error:
            assert any(name in str(error) for name in names_of(path))
            assert_same(buffer.state_dict(), before)
            continue
        accepted += 1
        buffer.sample(6, 0.5)
        fill(buffer, rng, 70, length=7)
        for _ in range(3):
            buffer.sample(32)
            buffer.sample(32, 0.5)
    assert 20 < accepted < 280


def test_states_of_buffers_that_did_everything() -> None:
    """Saved at any moment, a state is accepted and continues bit for bit."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        buffer = make_buffer(**OPTIONS)
        for _ in range(int(rng.integers(1, 12))):
            choice = rng.random()
            if choice < 0.15 and len(buffer._index.demos) < 2:
                buffer.add_demonstrations([make_demo(rng)], [proposals(rng, 7)])
            elif choice < 0.3:
                envs = [int(rng.integers(2))]
                one = observation(rng, 1)
                buffer.start_episode(envs, one, proposals(rng, 1))
            else:
                fill(buffer, rng, int(rng.integers(1, 25)), length=int(rng.integers(1, 11)))
            state = buffer.state_dict()
            other = other_buffer()
            other.load_state_dict(state)
            assert_same(other.state_dict(), state)
