"""Every wrong argument of a replay buffer's methods: an exception that names it, and nothing changed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from small_buffers import (
    SPACE,
    assert_same,
    fill,
    make_buffer,
    make_demo,
    observation,
    proposals,
    step_arguments,
)

from ibrl_fast.data import BufferPlan, ObsSpec, ReplayBuffer

ODD = (
    *(None, "x", b"xy", 3, 2.5, math.nan, math.inf, 2**70, True, [], {}, [[1.0], [2.0, 3.0]], object()),
    *(np.zeros(()), np.zeros((0, 0)), np.array([None, 1]), np.zeros(2, "datetime64[s]"), np.zeros(2, "V4")),
    *(
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(2, 2, device="meta"),
        torch.zeros(2, 2, dtype=torch.bfloat16),
    ),
)


def odd_arrays(value: np.ndarray) -> list[Any]:
    """Odd things, and arrays of the right shape with odd numbers, dtypes and strides."""
    odd = [
        *ODD,
        value.astype(np.complex64),
        value.astype(object),
        value[:, None],
        value[:1],
        value.T[..., None],
    ]
    if value.dtype.kind == "f":
        odd += [np.full_like(value, number) for number in (math.nan, math.inf, -math.inf, 3e38)]
        odd += [value.astype(np.float64) + 1e300, value.astype(np.int64) + 7, value.astype(str)]
    else:
        odd += [value.astype(np.float32), value.astype(np.int64)]
    return odd


def assert_refused_or_whole(buffer: ReplayBuffer, call: Any, name: str) -> None:
    """An exception that names the argument and changes nothing, or a state that can be restored."""
    before = buffer.state_dict()
    try:
        call()
    except (ValueError, TypeError) as error:
        assert name in str(error), f"{error!r} does not name {name}"
        assert_same(buffer.state_dict(), before)
    else:
        state, other = buffer.state_dict(), make_buffer(**OPTIONS)
        other.load_state_dict(state)
        assert_same(other.state_dict(), state)


OPTIONS: dict[str, Any] = {"demo_capacity": 40, "num_demos": 5}


@pytest.mark.parametrize(
    "name", ["action", "reward", "terminated", "truncated", "il_action_next", "state", "front"]
)
def test_steps(name: str) -> None:
    rng = np.random.default_rng(0)
    good = step_arguments(rng)
    value = good["next_obs"][name] if name in SPACE else good[name]
    for odd in odd_arrays(value):
        buffer = make_buffer(**OPTIONS)
        fill(buffer, np.random.default_rng(1), 14)
        given = dict(good)
        if name in SPACE:
            given["next_obs"] = good["next_obs"] | {name: odd}
        else:
            given[name] = odd
        reported = {"il_action_next": "il_action"}.get(name, name)
        assert_refused_or_whole(buffer, lambda given=given, buffer=buffer: buffer.append(**given), reported)


@pytest.mark.parametrize("obs", [None, 3, "state", [], ["state", "front"], {}, {"state": np.zeros((2, 4))}])
def test_observations_that_are_none(obs: Any) -> None:
    buffer, rng = make_buffer(**OPTIONS), np.random.default_rng(0)
    fill(buffer, rng, 14)
    calls = (
        lambda: buffer.append(**(step_arguments(rng) | {"next_obs": obs})),
        lambda: buffer.start_episode(None, obs, proposals(rng, 2)),
    )
    for call in calls:
        assert_refused_or_whole(buffer, call, "obs")


@pytest.mark.parametrize(
    "env_ids",
    [
        *(
            [0.7, 1],
            [0.0, 1.0],
            ["0", "1"],
            "01",
            [True, False],
            1,
            {0, 1},
            {0: 1},
            [0, -1],
            [0, 2**70],
            [0, None],
        ),
        *(np.array([0.5, 1.5]), torch.tensor([0.5, 1.5]), np.array([[0], [1]]), [0, 2], [0, 0], object()),
    ],
)
def test_environments_that_are_none(env_ids: Any) -> None:
    buffer, rng = make_buffer(**OPTIONS), np.random.default_rng(0)
    fill(buffer, rng, 14)
    for call in (
        lambda: buffer.append(**step_arguments(rng), env_ids=env_ids),
        lambda: buffer.start_episode(env_ids, observation(rng, 2), proposals(rng, 2)),
    ):
        before = buffer.state_dict()
        with pytest.raises((ValueError, TypeError), match="env_ids"):
            call()
        assert_same(buffer.state_dict(), before)


@pytest.mark.parametrize(
    "env_ids", [[1, 0], (0, 1), np.array([0, 1]), torch.tensor([1, 0]), range(2), [np.int64(1)]]
)
def test_environments_in_every_form(env_ids: Any) -> None:
    buffer, rng = make_buffer(**OPTIONS), np.random.default_rng(0)
    buffer.start_episode(env_ids, observation(rng, len(env_ids)), proposals(rng, len(env_ids)))
    buffer.append(**step_arguments(rng, len(env_ids)), env_ids=env_ids)
    assert len(buffer) == len(env_ids)


def test_demonstrations_that_are_none() -> None:
    buffer, rng = make_buffer(**OPTIONS), np.random.default_rng(0)
    demo = make_demo(rng)
    for demos, il_actions in (
        ([None], [proposals(rng, 7)]),
        ([3], [proposals(rng, 7)]),
        ([{"actions": 1}], [proposals(rng, 7)]),
        ([demo], None),
        ([demo], []),
        ([demo], [None]),
        ([demo], [proposals(rng, 6)]),
        ([demo], [proposals(rng, 7) * 9]),
        ([demo, None], [proposals(rng, 7)] * 2),
    ):
        before = buffer.state_dict()
        with pytest.raises((ValueError, TypeError), match=r"demos|il_action"):
            buffer.add_demonstrations(demos, il_actions)  # type: ignore[arg-type]
        assert_same(buffer.state_dict(), before)
    # one that was changed after it had been checked
    for name, value in (("terminated", True), ("truncated", True), ("rewards", math.nan), ("actions", 7.0)):
        changed = make_demo(rng)
        getattr(changed, name)[1] = value
        with pytest.raises(ValueError, match=rf"demos\[0\]\.{name.rstrip('s')}"):
            buffer.add_demonstrations([changed], [proposals(rng, 7)])
        assert len(buffer) == 0


@pytest.mark.parametrize(
    "size", [0, -1, 1.5, "8", None, True, 2**31, 2**40, 2**70, [8], math.nan, torch.tensor(8)]
)
def test_batch_sizes_that_are_none(size: Any) -> None:
    buffer = make_buffer(**OPTIONS)
    fill(buffer, np.random.default_rng(0), 14)
    before = buffer.state_dict()
    for call in (buffer.sample, lambda n: buffer.sample(n, 0.0), buffer.draw, buffer.check_can_sample):
        with pytest.raises((ValueError, TypeError), match="batch_size"):
            call(size)
        assert_same(buffer.state_dict(), before)


@pytest.mark.parametrize(
    "fraction", [-0.1, 1.1, True, math.nan, math.inf, "0.5", [0.5], torch.tensor([0.5, 0.5]), 2**70]
)
def test_fractions_that_are_none(fraction: Any) -> None:
    buffer = make_buffer(**OPTIONS)
    fill(buffer, np.random.default_rng(0), 14)
    before = buffer.state_dict()
    for call in (buffer.sample, buffer.draw, buffer.check_can_sample):
        with pytest.raises((ValueError, TypeError), match="demo_fraction"):
            call(8, fraction)
        assert_same(buffer.state_dict(), before)


NUMBERS = (None, "x", [1], -1, 2.5, math.nan, math.inf, 2**31, 2**62, 2**70, object(), torch.zeros(2))


@pytest.mark.parametrize(
    "name",
    [
        *("capacity", "max_episode_steps", "num_envs", "demo_capacity", "num_demos", "storage", "device"),
        *(
            "num_il_samples",
            "nstep",
            "gamma",
            "bootstrap_on_truncation",
            "random_shift_pad",
            "image_dtype",
            "seed",
        ),
    ],
)
def test_parameters(name: str) -> None:
    given = {"capacity": 60, "max_episode_steps": 10, "num_envs": 2, **OPTIONS}
    for value in NUMBERS:
        if name == "seed" and type(value) is int and value >= 0:
            ReplayBuffer(BufferPlan(SPACE, 2, **(given | {"seed": value}))).state_dict()
            continue
        # a size may be more than there is memory, or more than fits another one
        with pytest.raises((ValueError, TypeError, MemoryError)) as error:
            ReplayBuffer(BufferPlan(SPACE, 2, **(given | {name: value})))
        related = ("replay buffer", "num_demos", "capacity") if isinstance(value, int) else ()
        assert any(each in str(error.value) for each in (name, *related)), error.value


@pytest.mark.parametrize("stacks", [{"state": 2**31}, {"state": 1.5}, {"state": None}, {"x": 2}, {3: 2}])
def test_stacks(stacks: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="stacks"):
        make_buffer(stacks=stacks)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2.5,), torch.float32), (("4",), torch.float32), (4, torch.float32), ((3, 8, 2**15), torch.uint8)],
)
def test_observation_shapes(shape: Any, dtype: torch.dtype) -> None:
    with pytest.raises((ValueError, TypeError), match=r"shape|observation_space\['state'\]"):
        BufferPlan({"state": ObsSpec(shape, dtype)}, 2, capacity=60, max_episode_steps=10)


def test_observation_spaces_of_other_things() -> None:
    for space in ({"state": 3}, {"state": (4,)}, {3: ObsSpec((4,))}, None, 3, [("state", ObsSpec((4,)))]):
        with pytest.raises(TypeError, match="observation_space"):
            BufferPlan(space, 2, capacity=60, max_episode_steps=10)  # type: ignore[arg-type]
