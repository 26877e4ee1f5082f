"""Batches on their way from the host, and reads for graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from simulated_streams import SimulatedStreams
from small_buffers import assert_same, fill, make_buffer, make_demo, proposals
from test_replay_buffer import assert_same_batch

from ibrl_fast.data import batch_upload as batch_upload_module
from ibrl_fast.data.batch_upload import BatchUpload
from ibrl_fast.data.streams import Streams


def filled(seed=5, **options):
    buffer, rng = make_buffer(seed=seed, demo_capacity=6, num_demos=1, **options), np.random.default_rng(0)
    buffer.add_demonstrations([make_demo(rng)], [proposals(rng, 7)])
    fill(buffer, rng, 20)
    return buffer


# Batches gathered on the host.


class LoggedStreams(Streams):
    """Runs everything at once and notes it."""

    asynchronous = True

    def __init__(self):
        self.log, self.events, self.count, self.stream = [], 0, 0, "learner"

    def current(self):
        return self.stream

    def new_stream(self):
        self.count += 1
        return f"side {self.count}"

    def run(self, stream, call):
        before, self.stream = self.stream, stream
        result = call()
        self.stream = before
        self.log.append(f"run on {stream}")
        return result

    def record(self, stream, event=None):
        self.events += 1
        self.log.append(f"record on {stream}")
        return event or f"event {self.events}"

    def wait(self, stream, event):
        self.log.append(f"{stream} waits for {event}")

    def finish(self, event):
        self.log.append(f"host waits for {event}")

    def keep(self, tensors, stream):
        self.log.append(f"{len(list(tensors))} tensors kept for {stream}")


def test_uploaded_batches_equal_direct_ones(monkeypatch):
    streams = LoggedStreams()
    monkeypatch.setattr(batch_upload_module, "streams_of", lambda device: streams)
    options = {"stacks": {"state": 3, "front": 2}, "image_dtype": torch.bfloat16}
    buffer, plain = filled(**options), filled(**options)
    assert buffer.draws_on_device
    buffer._sampler._upload = BatchUpload(buffer.plan)
    assert not buffer.draws_on_device
    kept = []
    for number in range(5):
        if number % 2:
            kept.append((buffer.sample(16, 0.25), plain.sample(16, 0.25)))
        else:
            kept.append((buffer.sample(10 * number + 5), plain.sample(10 * number + 5)))
    for batch, expected in kept:
        assert_same_batch(batch, expected)

    # A stream of its own, two buffers: only a third batch waits, for the first one's copy.
    per_batch = [
        "run on side 1",
        "record on side 1",
        "learner waits for event {}",
        "1 tensors kept for learner",
    ]
    first, second, third = ([line.format(number) for line in per_batch] for number in ("1", "2", "1"))
    assert streams.log[:13] == [*first, *second, "host waits for event 1", *third]


def test_uploaded_batches_without_proposals():
    options = {"num_il_samples": 0, "stacks": {"state": 2}}
    batches = []
    for uploaded in (False, True):
        buffer, rng = make_buffer(**options), np.random.default_rng(0)
        if uploaded:
            buffer._sampler._upload = BatchUpload(buffer.plan)
        buffer.start_episode(None, make_obs(rng))
        buffer.append(
            rng.uniform(-1, 1, (2, 2)),
            rng.normal(size=2),
            np.zeros(2, bool),
            np.zeros(2, bool),
            make_obs(rng),
        )
        batches.append(buffer.sample(7))
    assert_same_batch(*batches)
    assert batches[1].il_action.shape == (7, 0, 2)


def make_obs(rng):
    return {
        "state": rng.normal(size=(2, 4)).astype(np.float32),
        "front": rng.integers(0, 256, (2, 3, 8, 8), dtype=np.uint8),
    }


# Reads for graphs.


def test_draws_between_reads_are_those_of_sample():
    buffer, plain = filled(), filled()
    for _ in range(3):
        buffer.before_reads()
        mine = buffer.draw(16), buffer.draw(16, 0.5)
        buffer.after_reads()
        for batch, expected in zip(mine, (plain.sample(16), plain.sample(16, 0.5)), strict=True):
            assert_same_batch(batch, expected)
        for each in (buffer, plain):
            fill(each, np.random.default_rng(1), 3)
    assert_same(buffer.state_dict(), plain.state_dict())


def test_reads_and_writes_out_of_order_are_errors():
    buffer, rng = filled(), np.random.default_rng(0)
    with pytest.raises(RuntimeError, match="after_reads: expected before_reads first"):
        buffer.after_reads()
    buffer.before_reads()
    for call in (
        buffer.before_reads,
        lambda: buffer.sample(4),
        buffer.state_dict,
        lambda: buffer.start_episode(None, make_obs(rng), proposals(rng, 2)),
        lambda: buffer.add_demonstrations([], []),
    ):
        with pytest.raises(RuntimeError, match="expected after_reads first, got reads under way"):
            call()
    buffer.after_reads()
    assert len(buffer.sample(4)) == 4
    # Other threads can go on: the lock is free.
    assert buffer._lock.acquire(blocking=False)
    buffer._lock.release()


def test_an_error_in_a_draw_ends_the_reads(monkeypatch):
    buffer = filled()
    monkeypatch.setattr(buffer._sampler, "draw", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        buffer.sample(4)
    monkeypatch.undo()
    fill(buffer, np.random.default_rng(1), 3)
    assert len(buffer.sample(4)) == 4


def test_simulated_streams_notice_a_deadlock():
    streams = SimulatedStreams()
    event = streams.record(streams.new_stream())
    event.recorded += 1
    with pytest.raises(AssertionError, match="deadlock"):
        streams.finish(event)
