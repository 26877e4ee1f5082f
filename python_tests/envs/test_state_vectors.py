"""The state of environments as vectors: what is put back draws and observes as before."""

from __future__ import annotations

import numpy as np
import pytest

from ibrl_fast import make_pool
from ibrl_fast.envs.state_vectors import state_layout, state_vectors, with_vector
from ibrl_fast.errors import ArgumentError


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_a_vector_puts_the_physics_back(backend: str) -> None:
    pool = make_pool("assembly", backend=backend, num_envs=2)
    pool.reset(seed=3)
    for _ in range(4):
        pool.step(np.full((2, 4), 0.7, np.float32))
    state = {name: value.copy() for name, value in pool.get_state().items()}
    layout, vectors = state_layout(state), state_vectors(state)
    sizes = [int(np.prod(shape)) for shape in layout.values()]
    assert vectors.shape == (2, sum(sizes)) and vectors.dtype == np.float64
    start = list(layout).index("physics")
    begin = sum(sizes[:start])
    np.testing.assert_array_equal(vectors[1, begin : begin + sizes[start]], state["physics"][1])
    assert not {"rng", "path_length", "needs_reset"} & set(layout)

    other = make_pool("assembly", backend=backend)
    other.reset(seed=9)
    observations = other.set_state(with_vector(other.get_state(), layout, vectors[1]))
    expected = pool.set_state(state)
    np.testing.assert_array_equal(observations["state"][0], expected["state"][1])


def test_frames_of_stacks_are_left_out() -> None:
    pool = make_pool("assembly", frame_stack=3)
    pool.reset(seed=3)
    assert not [name for name in state_layout(pool.get_state()) if name.startswith("frames/")]


def test_a_layout_or_vector_of_another_environment() -> None:
    pool = make_pool("assembly")
    pool.reset(seed=0)
    state = pool.get_state()
    with pytest.raises(
        ArgumentError, match=r"state_layout: expected .*body_pos.* as the environment has it, got"
    ):
        with_vector(state, {"physics": [3]}, np.zeros(3))
    with pytest.raises(ArgumentError, match=r"states: expected \d+ numbers, got \[3\]"):
        with_vector(state, state_layout(state), np.zeros(3))
