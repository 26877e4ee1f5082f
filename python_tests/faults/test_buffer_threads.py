"""Several threads on one replay buffer: every call takes place as a whole, or is one error; nothing hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from small_buffers import (
    assert_same,
    fill,
    make_buffer,
    make_demo,
    num_online,
    observation,
    proposals,
    step_arguments,
)

from ibrl_fast.data import ReplayBuffer

OPTIONS: dict[str, Any] = {"demo_capacity": 60, "num_demos": 10, "stacks": {"state": 3}}
ROUNDS = 120


def run(*work: Callable[[np.random.Generator], None]) -> list[BaseException]:
    """Each work in its own thread, many times over; returns what they raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(work))

    def body(number: int) -> None:
        rng = np.random.default_rng(number)
        start.wait()
        try:
            for _ in range(ROUNDS):
                work[number](rng)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(number,), daemon=True) for number in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return errors


def append_to(buffer: ReplayBuffer, env: int) -> Callable[[np.random.Generator], None]:
    """Episodes of one environment, which no other thread touches."""

    def append(rng: np.random.Generator) -> None:
        buffer.start_episode([env], observation(rng, 1), proposals(rng, 1))
        steps = int(rng.integers(1, 10))
        for t in range(steps):
            arguments = step_arguments(rng, 1, truncated=t == steps - 1)
            buffer.append(**arguments, env_ids=[env])

    return append


def consistent(buffer: ReplayBuffer) -> None:
    """Another buffer accepts its state and continues it."""
    state = buffer.state_dict()
    other = make_buffer(**OPTIONS)
    other.load_state_dict(state)
    assert_same(other.state_dict(), state)


def test_threads_append_sample_and_save_at_once() -> None:
    buffer = make_buffer(**OPTIONS)
    fill(buffer, np.random.default_rng(0), 20)
    states: list[dict[str, Any]] = []

    def sample(rng: np.random.Generator) -> None:
        batch = buffer.sample(16)
        assert torch.isfinite(batch.reward).all() and len(batch) == 16

    def look(rng: np.random.Generator) -> None:
        assert 0 < num_online(buffer) <= 60
        # demonstrations are only added: those counted first are among all that are counted next
        num_demo_steps = buffer.num_demo_steps
        assert len(buffer) >= num_demo_steps
        assert len(buffer) <= 120
        states[:] = [buffer.state_dict()]

    def demonstrate(rng: np.random.Generator) -> None:
        try:
            buffer.add_demonstrations([make_demo(rng)], [proposals(rng, 7)])
        except ValueError as error:
            assert "demos: expected at most" in str(error)

    errors = run(append_to(buffer, 0), append_to(buffer, 1), sample, sample, look, demonstrate)
    assert errors == []
    consistent(buffer)
    # a state saved in the midst of it is whole too
    other = make_buffer(**OPTIONS)
    other.load_state_dict(states[0])
    assert_same(other.state_dict(), states[0])


def test_threads_append_to_one_environment() -> None:
    buffer = make_buffer(**OPTIONS)
    fill(buffer, np.random.default_rng(0), 20)

    def append(rng: np.random.Generator) -> None:
        try:
            append_to(buffer, 0)(rng)
        except ValueError as error:
            # another thread has ended the episode, or filled it
            assert "append: expected" in str(error)

    assert run(append, append, append) == []
    consistent(buffer)


def test_threads_save_and_restore() -> None:
    buffer = make_buffer(**OPTIONS)
    fill(buffer, np.random.default_rng(0), 25)
    state = buffer.state_dict()

    def restore(rng: np.random.Generator) -> None:
        buffer.load_state_dict(state)

    def append(rng: np.random.Generator) -> None:
        try:
            append_to(buffer, 1)(rng)
        except ValueError as error:
            assert "append: expected" in str(error)

    def sample(rng: np.random.Generator) -> None:
        buffer.sample(16)

    assert run(restore, append, sample, lambda rng: buffer.load_state_dict(buffer.state_dict())) == []
    consistent(buffer)
    buffer.load_state_dict(state)
    assert_same(buffer.state_dict(), state)


def test_reads_belong_to_one_thread() -> None:
    buffer = make_buffer(**OPTIONS)
    fill(buffer, np.random.default_rng(0), 20)
    begun, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def read() -> None:
        buffer.before_reads()
        begun.set()
        go_on.wait(10)
        buffer.draw(8)
        done.append("read")
        buffer.after_reads()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(10)
    # the end of another thread's reads is an error at once, everything else waits for it
    with pytest.raises(RuntimeError, match="after_reads: expected before_reads first, in this thread"):
        buffer.after_reads()
    writer = threading.Thread(
        target=lambda: (append_to(buffer, 0)(np.random.default_rng(1)), done.append("append"))
    )
    writer.start()
    time.sleep(0.05)
    assert done == []
    go_on.set()
    reader.join(10)
    writer.join(10)
    assert done == ["read", "append"]
    consistent(buffer)
