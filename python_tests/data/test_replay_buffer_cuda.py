"""The replay buffer on a GPU, where there is one: every storage gives the CPU's batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ibrl_fast import _core
from ibrl_fast.data import BufferPlan, Demonstration, ObsSpec, ReplayBuffer

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available() or not hasattr(_core, "replay_gather_cuda"),
        reason="needs an NVIDIA GPU and an extension built with CUDA",
    ),
]

SPACE = {"state": ObsSpec((5,)), "wrist": ObsSpec((3, 16, 16), torch.uint8)}


class Episodes:
    """The same random steps in episodes of 9 into each of several buffers."""

    def __init__(self, *buffers):
        self.buffers, self.rng, self.steps = buffers, np.random.default_rng(0), 0

    def observation(self):
        return {
            "state": self.rng.normal(size=(2, 5)),
            "wrist": self.rng.integers(0, 256, (2, 3, 16, 16), dtype=np.uint8),
        }

    def append(self, count=1):
        for _ in range(count):
            if self.steps % 9 == 0:
                start = self.observation(), self.rng.uniform(-1, 1, (2, 1, 3))
                for buffer in self.buffers:
                    buffer.start_episode(None, *start)
            step = (
                self.rng.uniform(-1, 1, (2, 3)),
                self.rng.normal(size=2),
                np.full(2, False),
                np.full(2, self.steps % 9 == 8),
                self.observation(),
                self.rng.uniform(-1, 1, (2, 1, 3)),
            )
            for buffer in self.buffers:
                buffer.append(*step)
            self.steps += 1


def make_buffer(**options):
    sizes = {"capacity": 200, "max_episode_steps": 10, "num_envs": 2}
    return ReplayBuffer(BufferPlan(SPACE, 3, **sizes, stacks={"state": 3, "wrist": 3}, **options))


def filled_buffer(**options):
    buffer = make_buffer(**options)
    Episodes(buffer).append(257)
    return buffer


def assert_close(batch, expected):
    assert torch.equal(batch.rows.cpu(), expected.rows)
    expected = expected.tensors()
    for name, tensor in batch.tensors().items():
        assert tensor.device.type == "cuda"
        torch.testing.assert_close(tensor.cpu(), expected[name], msg=name)


@pytest.mark.parametrize("storage", ["device", "pinned", "host"])
def test_batches_are_those_of_the_cpu(storage):
    cpu, gpu = filled_buffer(), filled_buffer(storage=storage, device="cuda")
    for _ in range(3):
        expected, batch = cpu.sample(64), gpu.sample(64)
        assert batch.reward.device.type == "cuda"
        assert torch.equal(batch.rows.cpu(), expected.rows)
        for name in ("action", "il_action", "il_action_next", "discount"):
            assert torch.equal(getattr(batch, name).cpu(), getattr(expected, name))
        torch.testing.assert_close(batch.reward.cpu(), expected.reward)
        for key in SPACE:
            torch.testing.assert_close(batch.obs[key].cpu(), expected.obs[key])
            torch.testing.assert_close(batch.next_obs[key].cpu(), expected.next_obs[key])


@pytest.mark.parametrize("storage", ["device", "pinned", "host"])
def test_checkpoints_move_between_devices(storage):
    cpu, gpu = filled_buffer(seed=3), filled_buffer(storage=storage, device="cuda")
    gpu.load_state_dict(cpu.state_dict())
    assert torch.equal(gpu.sample(32).rows.cpu(), cpu.sample(32).rows)
    saved, other = gpu.state_dict(), cpu.state_dict()
    for name, column in saved["columns"].items():
        assert torch.equal(column, other["columns"][name])


@pytest.mark.parametrize("storage", ["device", "pinned", "host"])
def test_appends_beside_queued_reads(storage):
    """Batches drawn right before appends that evict their rows are whole, however far the host is ahead."""
    gpu, cpu = make_buffer(storage=storage, device="cuda"), make_buffer()
    episodes, kept = Episodes(gpu, cpu), []
    episodes.append(300)
    for number in range(60):
        # The learner's stream is busy, so that reads lie far behind the appends.
        if number % 7 == 0:
            torch.cuda._sleep(20_000_000)
        kept.append((gpu.sample(256), cpu.sample(256)))
        episodes.append(1 + number % 25)
    for batch, expected in kept:
        assert_close(batch, expected)
    saved, other = gpu.state_dict(), cpu.state_dict()
    for name, column in saved["columns"].items():
        assert torch.equal(column, other["columns"][name]), name


@pytest.mark.parametrize("storage", ["device", "pinned"])
def test_appends_do_not_wait_for_the_learner(storage):
    """While the learner's stream is busy, an append's data arrive all the same."""
    buffer = make_buffer(storage=storage, device="cuda")
    episodes = Episodes(buffer)
    episodes.append(9)
    buffer.sample(8)
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)
    busy = torch.cuda.Event()
    busy.record()
    episodes.append(3)
    buffer._writes._staging.drain()
    assert not busy.query()
    busy.synchronize()


@pytest.mark.parametrize("storage", ["device", "pinned"])
def test_a_captured_draw_follows_the_buffer(storage):
    """One graph, replayed between appends: the batches of the CPU."""
    gpu, cpu = make_buffer(storage=storage, device="cuda"), make_buffer()
    episodes = Episodes(gpu, cpu)
    episodes.append(50)
    assert gpu.draws_on_device
    for _ in range(3):
        assert_close(gpu.sample(64), cpu.sample(64))
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        batch = gpu.draw(64)
    kept = []
    for number in range(40):
        gpu.before_reads()
        graph.replay()
        gpu.after_reads()
        copy = type(batch).from_tensors({name: t.clone() for name, t in batch.tensors().items()})
        kept.append((copy, cpu.sample(64)))
        episodes.append(number % 12)
    for got, expected in kept:
        assert_close(got, expected)


@pytest.mark.parametrize("storage", ["device", "pinned"])
def test_a_captured_share_of_demonstrations_follows_the_first_online_steps(storage):
    """A graph recorded when there were none draws demonstrations alone, later the share that was asked."""
    options = {"demo_capacity": 7, "num_demos": 1}
    gpu, cpu = make_buffer(storage=storage, device="cuda", **options), make_buffer(**options)
    episodes = Episodes(gpu, cpu)
    shown = [episodes.observation() for _ in range(4)]
    demo = Demonstration(
        {key: np.concatenate([each[key] for each in shown]) for key in SPACE},
        episodes.rng.uniform(-1, 1, (7, 3)),
        np.zeros(7),
        np.arange(7) == 6,
        np.zeros(7, dtype=bool),
    )
    for buffer in (gpu, cpu):
        buffer.add_demonstrations([demo], [np.zeros((8, 1, 3))])
    for _ in range(3):
        assert_close(gpu.sample(64, 0.25), cpu.sample(64, 0.25))
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        batch = gpu.draw(64, 0.25)
    for number in range(20):
        gpu.before_reads()
        graph.replay()
        gpu.after_reads()
        assert_close(batch, cpu.sample(64, 0.25))
        assert int((batch.rows >= gpu.plan.layout.demo_rows).sum()) == (0 if number < 5 else 48)
        episodes.append(0 if number < 4 else 3)


@pytest.mark.parametrize("storage", ["device", "pinned"])
def test_the_next_batch_is_drawn_beside_the_update_in_one_graph(storage):
    """A draw on a branch of the captured graph fills the batch of the next replay."""
    gpu, cpu = make_buffer(storage=storage, device="cuda"), make_buffer()
    episodes = Episodes(gpu, cpu)
    episodes.append(50)
    current = gpu.sample(64)
    expected = cpu.sample(64)
    side, graph, seen = torch.cuda.Stream(), torch.cuda.CUDAGraph(), torch.zeros((), device="cuda")
    with torch.cuda.stream(side):
        gpu.sample(64)
    cpu.sample(64)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        main = torch.cuda.current_stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            following = gpu.draw(64)
        # What stands for the update reads the batch that was drawn before.
        seen.copy_(current.obs["wrist"].double().sum())
        main.wait_stream(side)
        for old, new in zip(current.tensors().values(), following.tensors().values()):
            old.copy_(new)
    for _ in range(20):
        gpu.before_reads()
        graph.replay()
        gpu.after_reads()
        assert seen.item() == pytest.approx(expected.obs["wrist"].double().sum().item(), abs=1e-2)
        expected = cpu.sample(64)
        assert_close(current, expected)
        episodes.append(3)


def test_capture_of_sample_is_refused():
    buffer, graph = filled_buffer(storage="device", device="cuda"), torch.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="capture `draw` alone"), torch.cuda.graph(graph):
        buffer.sample(64)
