"""An agent that was saved and loaded goes on bit for bit."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from agent_helpers import make_agent, pixel_networks, random_batch, random_obs, state_networks

from ibrl_fast.agents import IBRLConfig, TD3Config


def step(agent: Any, seed: int) -> list[float]:
    """One round: act, two critic updates, one actor update; everything that can be compared."""
    action = agent.act(random_obs(agent, 3, seed), explore=True)
    numbers = action.action.flatten().tolist() + action.source.tolist()
    for i in range(2):
        numbers += [
            float(value) for value in agent.update_critic(random_batch(agent, seed=seed + i)).values()
        ]
    numbers += [float(value) for value in agent.update_actor(random_batch(agent, seed=seed)).values()]
    return numbers


@pytest.mark.parametrize(
    ("config", "network"),
    [
        (IBRLConfig(beta=2.0), state_networks()),
        (IBRLConfig(), pixel_networks(num_critics=3)),
        (TD3Config(), state_networks()),
    ],
    ids=["ibrl-soft-state", "ibrl-pixels", "td3-state"],
)
def test_resume_is_bit_for_bit(config: TD3Config, network: Any) -> None:
    agent = make_agent(config, network, dtype=torch.float32)
    for seed in range(3):
        step(agent, seed)
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    expected = [step(agent, seed) for seed in range(3, 6)]

    # another agent, other weights, other random numbers
    file.seek(0)
    other = make_agent(config, network, seed=55, dtype=torch.float32)
    step(other, 9)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert (other.counts["critic_updates"], other.counts["actor_updates"]) == (6, 3)
    assert [step(other, seed) for seed in range(3, 6)] == expected
    ours, theirs = agent.state_dict(), other.state_dict()
    for part, weights in ours["modules"].items():
        assert all(torch.equal(value, theirs["modules"][part][name]) for name, value in weights.items()), part


def test_shared_storage_makes_no_file_larger() -> None:
    def size(state: Any) -> int:
        file = io.BytesIO()
        torch.save(state, file)
        return len(file.getvalue())

    def clones(state: Any) -> Any:
        if isinstance(state, dict):
            return {key: clones(value) for key, value in state.items()}
        return state.clone() if isinstance(state, torch.Tensor) else state

    agent = make_agent(IBRLConfig(), pixel_networks())
    step(agent, 0)
    state = agent.state_dict()
    assert size(state) <= size(clones(state))


def test_the_seed_decides_everything() -> None:
    first, second = (make_agent(IBRLConfig(beta=2.0), state_networks(), seed=3) for _ in range(2))
    assert [step(first, 0), step(first, 1)] == [step(second, 0), step(second, 1)]
    third = make_agent(IBRLConfig(beta=2.0), state_networks(), seed=3)
    third.random.generator.manual_seed(4)
    assert step(third, 0) != step(make_agent(IBRLConfig(beta=2.0), state_networks(), seed=3), 0)


def test_a_state_of_another_method_is_refused() -> None:
    ibrl = make_agent(IBRLConfig(), state_networks())
    td3 = make_agent(TD3Config(), state_networks())
    with pytest.raises(ValueError, match="modules: expected"):
        ibrl.load_state_dict(td3.state_dict())


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="seed: expected 0 <= seed"):
        make_agent(TD3Config(), state_networks(), seed=-1)
