"""Writes beside reads on a simulated device: batches are those of a buffer where nothing overlaps."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from simulated_streams import SimulatedStreams
from small_buffers import is_demo

from ibrl_fast.data import BufferPlan, Demonstration, ObsSpec, ReplayBuffer
from ibrl_fast.data import row_storage as row_storage_module
from ibrl_fast.data import sampler as sampler_module
from ibrl_fast.data.staging import StagingRing
from ibrl_fast.data.write_queue import DeviceWriteQueue

SPACE = {"state": ObsSpec((3,)), "wrist": ObsSpec((1, 2, 2), torch.uint8)}
OPTIONS = {"capacity": 24, "max_episode_steps": 4, "num_envs": 2, "stacks": {"state": 2}, "seed": 3}


class InterruptedOps:
    """The ops module, with other streams' work in front of every call, as kernels of a draw run beside it."""

    def __init__(self, ops, streams: SimulatedStreams) -> None:
        self.ops, self.streams = ops, streams

    def __getattr__(self, name):
        def call(*args, **options):
            self.streams.advance(int(self.streams.rng.integers(0, 4)))
            return getattr(self.ops, name)(*args, **options)

        return call


def make_pair(monkeypatch, seed=0, **changes):
    """A buffer on a simulated device, a plain one, and the device."""
    streams = SimulatedStreams(seed)
    plain = ReplayBuffer(BufferPlan(SPACE, 2, **(OPTIONS | changes)))
    with monkeypatch.context() as patch:
        patch.setattr(row_storage_module, "streams_of", lambda device: streams)
        queued = ReplayBuffer(BufferPlan(SPACE, 2, **(OPTIONS | changes)))
    assert isinstance(queued._writes, DeviceWriteQueue)
    # Draws of the queued buffer alone are interrupted: those of the plain one happen when nothing runs.
    monkeypatch.setattr(sampler_module, "ops", InterruptedOps(sampler_module.ops, streams))
    return queued, plain, streams


class Steps:
    """The same random steps for both buffers."""

    def __init__(self, buffers, seed) -> None:
        self.buffers, self.rng, self.number = buffers, np.random.default_rng(seed), 0

    def observation(self):
        self.number += 1
        return {
            "state": np.full((2, 3), self.number, dtype=np.float32),
            "wrist": self.rng.integers(0, 256, (2, 1, 2, 2), dtype=np.uint8),
        }

    def both(self, method, *args):
        for buffer in self.buffers:
            getattr(buffer, method)(*args)

    def start(self):
        self.both("start_episode", None, self.observation(), self.rng.uniform(-1, 1, (2, 1, 2)))

    def append(self, ended):
        self.both(
            "append",
            self.rng.uniform(-1, 1, (2, 2)),
            self.rng.normal(size=2),
            np.asarray([False, False]),
            np.asarray([ended, ended]),
            self.observation(),
            self.rng.uniform(-1, 1, (2, 1, 2)),
        )

    def add_demo(self, steps):
        demo = Demonstration(
            {
                "state": self.rng.normal(size=(steps + 1, 3)),
                "wrist": self.rng.integers(0, 256, (steps + 1, 1, 2, 2), dtype=np.uint8),
            },
            self.rng.uniform(-1, 1, (steps, 2)),
            self.rng.normal(size=steps),
            np.zeros(steps, dtype=bool),
            np.arange(steps) == steps - 1,
        )
        self.both("add_demonstrations", [demo], [self.rng.uniform(-1, 1, (steps + 1, 1, 2))])


def draw_queued(queued, streams, draw, batches):
    """What the learner does: a read between the two calls, on the current stream."""
    queued.before_reads()
    streams.run(streams.current(), lambda: batches.append(draw(queued)))
    queued.after_reads()


def test_a_draw_queued_before_the_first_online_step_sees_demonstrations_alone(monkeypatch):
    """The host is far ahead: what a mixed batch is drawn from is published in the order of the reads."""
    queued, plain, streams = make_pair(monkeypatch, 3, demo_capacity=9, num_demos=2)
    steps, got, expected = Steps((queued, plain), 3), [], []
    steps.add_demo(4)
    for number in range(6):
        for _ in range(2):
            draw_queued(queued, streams, lambda buffer: buffer.draw(32, 0.25), got)
            expected.append(plain.sample(32, 0.25))
        if number % 3 == 0:
            steps.start()
        steps.append(False)
    streams.finish_all()
    online = [int((~is_demo(queued, batch.rows)).sum()) for batch in got]
    assert online == [0, 0] + [24] * 10
    assert all(same(*pair) for pair in zip(got, expected, strict=True))


def run(monkeypatch, seed, *, rounds=120, reader_streams=1, pace=3, mixed=False):
    """Random steps and reads; returns how many batches differ from those of the plain buffer."""
    queued, plain, streams = make_pair(monkeypatch, seed, demo_capacity=9, num_demos=2)
    steps = Steps((queued, plain), seed)
    readers = [streams.current(), *(streams.new_stream() for _ in range(reader_streams - 1))]
    got, expected = [], []
    steps.add_demo(4)
    for number in range(rounds):
        steps.start()
        if number == rounds // 2:
            steps.add_demo(5)
        length = int(streams.rng.integers(1, 5))
        for t in range(length):
            steps.append(t == length - 1)
            if streams.rng.random() < 0.4:
                streams.stream = readers[int(streams.rng.integers(len(readers)))]
                if mixed and number % 2:
                    draw_queued(queued, streams, lambda buffer: buffer.draw(32, 0.25), got)
                    expected.append(plain.sample(32, 0.25))
                else:
                    draw_queued(queued, streams, lambda buffer: buffer.draw(32), got)
                    expected.append(plain.sample(32))
            streams.advance(int(streams.rng.integers(0, pace)))
    streams.finish_all()
    assert len(got) == len(expected) > rounds // 2
    return sum(not same(a, b) for a, b in zip(got, expected)), queued, plain


def same(a, b):
    a, b = a.tensors(), b.tensors()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("reader_streams", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_batches_are_those_of_a_buffer_where_nothing_overlaps(monkeypatch, seed, reader_streams):
    pace = (2, 3, 8, 30)[seed]
    different, queued, plain = run(
        monkeypatch, seed, reader_streams=reader_streams, pace=pace, mixed=bool(seed % 2)
    )
    assert different == 0

    # The memory is the same, too, bit for bit.
    a, b = queued.state_dict(), plain.state_dict()
    for name, column in a["columns"].items():
        assert torch.equal(column, b["columns"][name]), name
    assert torch.equal(a["counter"], b["counter"])


def test_the_simulation_finds_what_each_rule_prevents(monkeypatch):
    """Without any one of the rules some batches are wrong: the test above can fail."""

    def wrong(name, owner, method, replacement):
        for seed in range(8):
            with monkeypatch.context() as patch:
                patch.setattr(owner, method, replacement)
                try:
                    if run(patch, seed, rounds=60, reader_streams=2)[0]:
                        return
                except (IndexError, ValueError):  # rows or counts that are garbage
                    return
        pytest.fail(f"nothing was wrong without: {name}")

    def unchecked_take(self, num_bytes):
        for slot in self._slots:
            slot.read = None
        return take(self, num_bytes)

    take, before_reads = StagingRing.take, DeviceWriteQueue.before_reads

    def blind_before_reads(self):
        self._unseen = None
        before_reads(self)

    def same_reader(self):
        self._reader = self._streams.current()
        before_reads(self)

    wrong("evicted rows wait for reads", DeviceWriteQueue, "retire", lambda self, first, stop: None)
    wrong("staging waits for the device", StagingRing, "take", unchecked_take)
    wrong("reads wait for writes", DeviceWriteQueue, "before_reads", blind_before_reads)
    wrong("reads follow each other", DeviceWriteQueue, "before_reads", same_reader)


def test_writes_of_long_episodes_wait_for_nothing(monkeypatch):
    """The order of queued operations, step by step."""
    queued, _, streams = make_pair(monkeypatch)
    steps, writer = Steps((queued,), 0), queued._writes._writer
    reader = streams.current()

    # An append is one kernel on the writer's stream, whatever reads are queued.
    steps.start()
    draw_log, batches = [], []
    for t in range(4):
        streams.log.clear()
        steps.append(t == 3)
        assert streams.log == [("run", writer), ("record", writer)]
        streams.log.clear()
        draw_queued(queued, streams, lambda buffer: buffer.draw(4), batches)
        draw_log.append(list(streams.log))
    # A read: wait for the data, publish in front of it, read, note its end.
    assert draw_log[0] == [
        ("wait", reader),
        ("run", reader),
        ("record", reader),
        ("run", reader),
        ("record", reader),
    ]
    # Nothing new: nothing to wait for, nothing to publish.
    streams.log.clear()
    draw_queued(queued, streams, lambda buffer: buffer.draw(4), batches)
    assert streams.log == [("run", reader), ("record", reader)]

    # Later, when the ring is full: rows were evicted an episode ahead, and the reads before that are done.
    streams.finish_all()
    waits = streams.host_waits = 0
    for _ in range(30):
        steps.start()
        for t in range(4):
            streams.log.clear()
            steps.append(t == 3)
            waits += ("wait", writer) in streams.log
            draw_queued(queued, streams, lambda buffer: buffer.draw(4), batches)
            streams.finish_all()
    assert streams.host_waits == 0
    assert waits == 0


def test_host_waits_only_for_a_full_ring(monkeypatch):
    queued, _, streams = make_pair(monkeypatch)
    steps = Steps((queued,), 0)
    steps.start()
    for _ in range(3):
        steps.append(False)
    assert streams.host_waits == 0
    steps.append(True)
    assert streams.host_waits == 1


def test_capture_is_refused_where_it_would_contain_events(monkeypatch):
    queued, _, streams = make_pair(monkeypatch)
    Steps((queued,), 0).start()
    streams.capturing = True
    with pytest.raises(RuntimeError, match="before_reads: expected a stream that is not being captured"):
        queued.before_reads()
    streams.capturing = False
    queued.before_reads()
    queued.after_reads()


def test_a_dropped_buffer_waits_for_the_device(monkeypatch):
    queued, _, streams = make_pair(monkeypatch)
    Steps((queued,), 0).start()
    assert any(streams.queues)
    del queued
    gc.collect()
    assert not streams.queues[1]


def test_checkpoints_between_a_device_and_the_host(monkeypatch):
    """Loaded state replaces what was on its way, and both go on alike."""
    queued, plain, streams = make_pair(monkeypatch, 5)
    source = Steps((plain,), 1)
    for _ in range(9):
        source.start()
        for t in range(4):
            source.append(t == 3)
    other = Steps((queued,), 2)
    other.start()
    other.append(False)
    queued.load_state_dict(plain.state_dict())
    both = Steps((queued, plain), 3)
    got, expected = [], []
    for _ in range(9):
        both.start()
        for t in range(4):
            both.append(t == 3)
            draw_queued(queued, streams, lambda buffer: buffer.draw(16), got)
            expected.append(plain.sample(16))
            streams.advance(2)
    streams.finish_all()
    assert all(same(a, b) for a, b in zip(got, expected, strict=True))


def test_a_buffer_without_values_can_be_drawn_from():
    """Tensors of the meta device: the same operations, nothing to look at."""
    buffer = ReplayBuffer(BufferPlan(SPACE, 2, **OPTIONS, storage="device", device="meta"))
    steps = Steps((buffer,), 0)
    for _ in range(9):
        steps.start()
        for t in range(4):
            steps.append(t == 3)
    assert buffer.draws_on_device
    batch = buffer.sample(16)
    assert batch.obs["state"].device.type == "meta" and batch.obs["state"].shape == (16, 6)
