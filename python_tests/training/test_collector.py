"""The collector stores what it saw and did, and asks the imitation policy once for every observation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from graph_cases import ACTION_DIM, CASES, make_agent, specs
from graph_doubles import Machine

from ibrl_fast.data import BufferPlan, ReplayBuffer
from ibrl_fast.training.acting import Acting
from ibrl_fast.training.collector import Collector

ENVS, LENGTH = 2, 5


class CountingPool:
    """Environments whose episodes end after LENGTH steps; the state holds environment, episode and step."""

    num_envs = ENVS
    task = SimpleNamespace(action_dim=ACTION_DIM)

    def __init__(self) -> None:
        self.episode, self.step_number = 0, 0

    def observe(self) -> dict[str, np.ndarray]:
        numbers = [[env, self.episode, self.step_number, 1, -1, 0.5] for env in range(ENVS)]
        return {"state": np.array(numbers, dtype=np.float32) / 10}

    def reset(self, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return self.observe(), {}

    def step(self, actions: np.ndarray) -> Any:
        assert actions.shape == (ENVS, ACTION_DIM)
        self.step_number += 1
        ended = np.full(ENVS, self.step_number == LENGTH)
        info: dict[str, Any] = {}
        if ended.any():
            info = {"final_obs": self.observe(), "final_info": {"success": ended}}
            self.episode, self.step_number = self.episode + 1, 0
        return self.observe(), np.full(ENVS, 0.25), ended, np.zeros(ENVS, bool), info


def collect(name: str, steps: int, *, capture: bool) -> tuple[ReplayBuffer, list[int], list[Any]]:
    """The buffer after `steps`, forward passes of the imitation policy by step, and the records."""
    kind, critics, _, config = CASES[name]
    agent = make_agent(kind, critics, config)
    samples = 0 if name == "td3-state" else 1
    buffer = ReplayBuffer(
        BufferPlan(
            specs(kind),
            ACTION_DIM,
            capacity=100,
            max_episode_steps=LENGTH,
            num_envs=ENVS,
            num_il_samples=samples,
        )
    )
    passes = [0]
    if samples:
        agent.bc_policy.register_forward_hook(lambda *_: passes.__setitem__(-1, passes[-1] + 1))
    acting = Acting(agent, capture=capture)
    collector = Collector(CountingPool(), acting, buffer, stacks={}, seed=0)  # type: ignore[arg-type]
    collector.start(seed=0)
    records = []
    for _ in range(steps):
        passes.append(0)
        collector.begin("agent")
        records += collector.finish()
    return buffer, passes, records


def test_the_imitation_policy_is_asked_once_for_every_observation() -> None:
    """One pass a step; where episodes end, one more for their final observation."""
    buffer, passes, records = collect("ibrl-soft-state", 12, capture=False)
    assert passes == [1, *([1, 1, 1, 1, 2] * 2), 1, 1]
    assert [(record.success, record.length) for record in records] == [(True, LENGTH)] * 4

    # what is stored beside an observation is what the policy says of it
    agent = make_agent("state", 5, CASES["ibrl-soft-state"][3])
    batch = buffer.sample(64)
    torch.testing.assert_close(batch.il_action, agent.propose(batch.obs))
    torch.testing.assert_close(batch.il_action_next, agent.propose(batch.next_obs))


@pytest.mark.parametrize("name", ["ibrl-soft-state", "td3-state"])
@pytest.mark.usefixtures("cuda_formulas")
def test_captured_acting_collects_the_same(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    machine = Machine(monkeypatch, torch.device("cpu"))
    (eager, _, expected), (captured, passes, records) = (
        collect(name, 23, capture=capture) for capture in (False, True)
    )
    assert records == expected
    ours, theirs = captured.state_dict()["columns"], eager.state_dict()["columns"]
    assert all(torch.equal(value, theirs[column]) for column, value in ours.items())
    # 23 steps act; a start, 23 steps and 4 ends propose; the policy itself ran 3 times and was then recorded
    assert sorted(graph.replays for graph in machine.graphs) == ([20] if name == "td3-state" else [20, 25])
    assert sum(passes) == (0 if name == "td3-state" else 4)
