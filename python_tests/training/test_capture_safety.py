"""What is to be captured never waits for the device, brings nothing from the host, and repeats itself.

It runs on a device whose tensors have no values: whatever looks at one fails. Networks take the formulas that
they take on a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from graph_cases import BATCH, CASES, Feeder, make_agent, observations
from graph_doubles import CaptureError, Machine, Recording

from ibrl_fast.agents import BCConfig, IBRLAgent, IBRLConfig, TD3Config, train_bc
from ibrl_fast.data import Demonstration
from ibrl_fast.nn import ActorConfig, BCNetworkConfig, ResNet18Config, build_bc_policy
from ibrl_fast.training.acting import Acting
from ibrl_fast.training.graph_capture import GraphedStep
from ibrl_fast.training.records.metrics import MetricsAccumulator
from ibrl_fast.training.update_round import UpdateRound


@pytest.fixture(autouse=True)
def fused_adam_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's fused Adam has code for tensors without values, but refuses them."""
    module = sys.modules["torch.optim.optimizer"]
    monkeypatch.setattr(module, "_get_fused_kernels_supported_devices", lambda: ["cpu", "cuda", "meta"])


@pytest.mark.parametrize(("name", "precision"), [*((name, "fp32") for name in CASES), ("ibrl-vit", "tf32")])
def test_a_round_can_be_captured(
    monkeypatch: pytest.MonkeyPatch, meta_device: torch.device, name: str, precision: Any
) -> None:
    kind, critics, critic_updates, config = CASES[name]
    machine = Machine(monkeypatch, meta_device)
    agent, feeder = make_agent(kind, critics, config, meta_device), Feeder(kind, meta_device)
    agent.precision.name = precision
    round_ = UpdateRound(agent, feeder.buffer, batch_size=BATCH, critic_updates=critic_updates, capture=True)
    for _ in range(5):
        round_()
        feeder.feed(3)
    (graph,) = machine.graphs
    assert graph.replays == 2
    names = [str(operation[0]) for operation in graph.recording.operations]
    # a mixed batch draws its demonstrations and its online steps apart
    shares = [request.demo_fraction for request in config.batches(BATCH, critic_updates)]
    draws = sum(1 if share in (None, 0.0, 1.0) else 2 for share in shares)
    assert names.count("ibrl_fast.sample_rows.default") == draws
    assert names.count("ibrl_fast.ibrl_target.default") == critic_updates


@pytest.mark.parametrize("name", list(CASES))
def test_every_round_is_the_same_work(meta_device: torch.device, name: str) -> None:
    """The same operations, host values, shapes and strides, whatever the buffer holds by now."""
    kind, critics, critic_updates, config = CASES[name]
    agent, feeder = make_agent(kind, critics, config, meta_device), Feeder(kind, meta_device)
    metrics = MetricsAccumulator()
    rounds = []
    for _ in range(4):
        feeder.feed(25)
        with Recording(meta_device) as recording:
            for request in config.batches(BATCH, critic_updates):
                batch = feeder.buffer.draw(request.size, request.demo_fraction)
                metrics.add(agent.update_critic(batch))
            metrics.add(agent.update_actor(batch))
        rounds.append(recording.fingerprint())
    # the first one also makes the optimiser's state and the sums
    assert len(rounds[1]) > 50
    assert rounds[1] == rounds[2] == rounds[3]


@pytest.mark.parametrize(
    "name", ["ibrl-soft-state", "ibrl-vit", "td3-state", "rpl-state", "ibrl_rpl-soft-vit"]
)
def test_acting_can_be_captured(
    monkeypatch: pytest.MonkeyPatch, meta_device: torch.device, name: str
) -> None:
    kind, critics, _, config = CASES[name]
    machine = Machine(monkeypatch, meta_device)
    for propose in (True, False):
        acting = Acting(make_agent(kind, critics, config, meta_device), capture=True)
        for number in range(5):
            acting.see({key: torch.from_numpy(v) for key, v in observations(kind, 2, number).items()})
            if propose:
                acting.propose()
            assert acting.act().action.shape == (2, 3)
    graphs = 2 if name == "td3-state" else 3
    assert [graph.replays for graph in machine.graphs] == [2] * graphs


def test_an_imitation_step_can_be_captured(
    monkeypatch: pytest.MonkeyPatch, meta_device: torch.device
) -> None:
    machine = Machine(monkeypatch, meta_device)
    steps = 12
    demo = Demonstration(
        observations={
            "state": np.zeros((steps + 1, 4), np.float32),
            "camera": np.zeros((steps + 1, 3, 36, 36), np.uint8),
        },
        actions=np.zeros((steps, 2), np.float32),
        rewards=np.zeros(steps, np.float32),
        terminated=np.zeros(steps, bool),
        truncated=np.zeros(steps, bool),
    )
    network = BCNetworkConfig(
        actor=ActorConfig(hidden=(8,), dropout=0.5, compress_dim=None),
        encoder=ResNet18Config(base_channels=2),
    )
    policy = build_bc_policy(network, {"camera": (6, 36, 36), "state": (4,)}, 2).to(meta_device)

    def wrap(step: Callable[[], torch.Tensor], generator: torch.Generator) -> GraphedStep[torch.Tensor]:
        return GraphedStep(step, meta_device, generators=(generator,))

    # the mean of the losses at the very end is a number, which there is none of
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        train_bc(policy, [demo], BCConfig(updates=6, batch_size=8), stacks={"camera": 2}, wrap_step=wrap)
    assert [graph.replays for graph in machine.graphs] == [3]


# ---- the tests above notice what they are there for


class Peeking(IBRLAgent):
    """Looks at a loss on the host."""

    def update_critic(self, batch: Any, **options: Any) -> dict[str, torch.Tensor]:
        metrics = super().update_critic(batch, **options)
        self.last_loss = metrics["critic_loss"].item()
        return metrics


class Decaying(IBRLAgent):
    """Has a number on the host that changes from update to update."""

    def update_critic(self, batch: Any, **options: Any) -> dict[str, torch.Tensor]:
        metrics = super().update_critic(batch, **options)
        return {**metrics, "decayed": metrics["critic_loss"] * 0.9 ** self.counts["critic_updates"]}


def test_an_agent_that_looks_at_a_value_is_noticed(
    monkeypatch: pytest.MonkeyPatch, meta_device: torch.device
) -> None:
    agent, feeder = make_agent("state", 2, IBRLConfig(), meta_device, Peeking), Feeder("state", meta_device)
    with Recording(meta_device), pytest.raises(CaptureError, match="_local_scalar_dense"):
        agent.update_critic(feeder.buffer.draw(BATCH))
    # through the class that captures: where there is no value to look at, its warm-up ends it
    Machine(monkeypatch, meta_device)
    round_ = UpdateRound(agent, feeder.buffer, batch_size=BATCH, critic_updates=1, capture=True)
    with pytest.raises(RuntimeError, match="meta"):
        round_()


def test_an_agent_that_changes_its_work_is_noticed(meta_device: torch.device) -> None:
    agent, feeder = make_agent("state", 2, IBRLConfig(), meta_device, Decaying), Feeder("state", meta_device)
    rounds = []
    for _ in range(3):
        with Recording(meta_device) as recording:
            agent.update_critic(feeder.buffer.draw(BATCH))
        rounds.append(recording.fingerprint())
    assert len(rounds[1]) == len(rounds[2]) and rounds[1] != rounds[2]


def test_every_way_to_the_host_is_noticed() -> None:
    meta, cpu = torch.device("meta"), torch.device("cpu")
    x, y = torch.empty(4, device=meta), torch.zeros(4)
    ways: dict[str, Callable[[], Any]] = {
        "item": lambda: x.sum().item(),
        "float": lambda: float(x.sum()),
        "branch": lambda: bool((x > 0).any()),
        "tolist": lambda: x.tolist(),
        "to the host": lambda: x.cpu(),
        "host array": lambda: torch.from_numpy(np.ones(4, np.float32)).to(meta),
        "host tensor": lambda: x + torch.ones(()),
        "host copy": lambda: x.copy_(torch.ones(4)),
        "nonzero": lambda: torch.nonzero(x),
        "masked select": lambda: x[x > 0],
        "masked store": lambda: x.__setitem__(x > 0, x[:1]),
        "unique": lambda: torch.unique(x),
    }
    on_cpu: dict[str, Callable[[], Any]] = {
        "host values": lambda: torch.tensor([1.0, 2.0]),
        "host index": lambda: y[[0, 1]],
        "host array": lambda: y + torch.from_numpy(np.ones(4, np.float32)).to(cpu),
    }
    for device, some_ways in ((meta, ways), (cpu, on_cpu)):
        for name, way in some_ways.items():
            with Recording(device), pytest.raises((CaptureError, NotImplementedError, RuntimeError)):
                way()
                pytest.fail(f"{name}: not noticed")
    # and what is no way to the host is let through
    with Recording(meta):
        torch.where(x > 0, x * 2.0, torch.zeros_like(x))[torch.zeros(2, dtype=torch.int64, device=meta)]


def test_td3_has_no_proposals_to_record(meta_device: torch.device) -> None:
    agent = make_agent("state", 2, TD3Config(), meta_device)
    acting = Acting(agent, capture=False)
    acting.see({"state": torch.zeros(2, 6)})
    assert acting.propose() is None and acting.act().il_action is None
