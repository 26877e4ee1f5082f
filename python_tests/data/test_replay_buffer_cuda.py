"""The replay buffer on a GPU, where there is one: every storage gives the CPU's batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ibrl_fast import _core
from ibrl_fast.data import ObsSpec, ReplayBuffer

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available() or not hasattr(_core, "replay_gather_cuda"),
        reason="needs an NVIDIA GPU and an extension built with CUDA",
    ),
]

SPACE = {"state": ObsSpec((5,)), "wrist": ObsSpec((3, 16, 16), torch.uint8)}


def filled_buffer(**options):
    rng = np.random.default_rng(0)
    buffer = ReplayBuffer(
        SPACE, 3, capacity=200, max_episode_steps=10, num_envs=2, stacks={"state": 3, "wrist": 3}, **options
    )

    def observation():
        return {
            "state": rng.normal(size=(2, 5)),
            "wrist": rng.integers(0, 256, (2, 3, 16, 16), dtype=np.uint8),
        }

    def proposal():
        return rng.uniform(-1, 1, (2, 1, 3))

    for t in range(257):
        if t % 9 == 0:
            buffer.start_episode(None, observation(), proposal())
        buffer.append(
            rng.uniform(-1, 1, (2, 3)),
            rng.normal(size=2),
            np.full(2, False),
            np.full(2, t % 9 == 8),
            observation(),
            proposal(),
        )
    return buffer


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


def test_pinned_frames_are_not_overwritten_while_they_are_read():
    """Batches drawn right before appends that evict their rows are still whole."""
    gpu, cpu = filled_buffer(storage="pinned", device="cuda"), filled_buffer()
    kept = []
    zeros = {"state": np.zeros((2, 5)), "wrist": np.zeros((2, 3, 16, 16), dtype=np.uint8)}
    for _ in range(20):
        kept.append((gpu.sample(256), cpu.sample(256)))
        for buffer in (gpu, cpu):
            buffer.start_episode(None, zeros, np.zeros((2, 1, 3)))
            for _ in range(10):
                buffer.append(
                    np.zeros((2, 3)),
                    np.zeros(2),
                    np.full(2, False),
                    np.full(2, False),
                    zeros,
                    np.zeros((2, 1, 3)),
                )
    for batch, expected in kept:
        torch.testing.assert_close(batch.obs["wrist"].cpu(), expected.obs["wrist"])


def test_sampling_can_be_captured():
    """One graph, replayed: fresh rows each time, those of eager sampling."""
    eager, captured = (filled_buffer(device="cuda") for _ in range(2))
    for buffer in (eager, captured):
        buffer.sample(64)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        batch = captured.sample(64)
    for _ in range(3):
        graph.replay()
        expected = eager.sample(64)
        assert torch.equal(batch.rows, expected.rows)
        torch.testing.assert_close(batch.obs["wrist"], expected.obs["wrist"])
