"""Who acts, with which noise, and how the choice among proposals is made."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from agent_helpers import ACTION_DIM, RecordingRandom, make_agent, pixel_networks, random_obs, state_networks
from torch import Tensor, nn

from ibrl_fast.agents import IBRLConfig, ProposalRule, TD3Config


class FixedCritic(nn.Module):
    """Says that every RL action is worth `values[0]` and every IL action `values[1]`, each per critic."""

    def __init__(self, values: list[list[float]]) -> None:
        super().__init__()
        self.values = torch.tensor(values, dtype=torch.float64)
        self.num_critics = self.values.shape[1]

    def forward(self, features: Tensor, actions: Tensor, subset: Tensor | None = None) -> Tensor:
        values = self.values[: actions.shape[0]]
        if subset is not None:
            values = values[:, subset]
        return values.unsqueeze(2).expand(-1, -1, actions.shape[1])


def agent_with_values(config: IBRLConfig, values: list[list[float]]) -> Any:
    """An agent whose target critics are constants."""
    agent = make_agent(config, state_networks(num_critics=len(values[0])))
    agent.target_critic = FixedCritic(values)
    return agent


def test_no_noise_on_the_imitation_action() -> None:
    agent = agent_with_values(IBRLConfig(exploration_std=0.5), [[0.0, 0.0], [1.0, 1.0]])
    obs = random_obs(agent, 64, 0)
    action = agent.act(obs, explore=True)
    assert action.source.tolist() == [1] * 64
    assert torch.equal(action.action, agent.bc_policy(obs))
    assert torch.equal(action.il_action[:, 0], agent.bc_policy(obs))


def test_noise_on_the_rl_action_has_its_std_and_is_clipped() -> None:
    agent = agent_with_values(IBRLConfig(exploration_std=0.1), [[1.0, 1.0], [0.0, 0.0]])
    random = agent.random = RecordingRandom(0)
    obs = random_obs(agent, 2000, 0)
    action = agent.act(obs, explore=True)
    mean = agent.actor(obs["state"]).detach()
    assert action.source.tolist() == [0] * 2000
    assert torch.equal(action.action, (mean + 0.1 * random.draws["normal"][0]).clamp(-1, 1))
    inside = action.action.abs() < 1
    assert 0.09 < float((action.action - mean)[inside].std()) < 0.11
    # no exploration: no noise
    assert torch.equal(agent.act(obs, explore=False).action, mean)


def test_target_noise_is_clipped_twice() -> None:
    agent = make_agent(IBRLConfig(exploration_std=10.0, noise_clip=0.3), state_networks(dropout=0.0))
    obs = random_obs(agent, 500, 0)
    mean = agent.target_actor(obs["state"])
    proposal = agent._target_action(obs["state"], torch.empty(500, 0, ACTION_DIM), 500)
    assert float((proposal - mean).abs().max()) <= 0.3 + 1e-12
    assert float(proposal.abs().max()) <= 1.0
    assert float(((proposal - mean).abs() > 0.299).double().mean()) > 0.8


def test_minimum_over_the_subset_decides() -> None:
    agent = agent_with_values(IBRLConfig(), [[5.0, 0.0], [1.0, 1.0]])
    action = agent.act(random_obs(agent, 3, 0), explore=True)
    assert action.source.tolist() == [1, 1, 1]
    assert action.q.tolist() == [[0.0] * 3, [1.0] * 3]


def test_ties_go_to_the_rl_action() -> None:
    agent = agent_with_values(IBRLConfig(), [[1.0, 1.0], [1.0, 1.0]])
    assert agent.act(random_obs(agent, 5, 0), explore=True).source.tolist() == [0] * 5


@pytest.mark.parametrize("gap", [0.0, 0.1, 0.5])
def test_soft_draws_follow_the_softmax(gap: float) -> None:
    """Chi-square of 20000 draws against softmax(beta q): below its 99.9% quantile, one degree of freedom."""
    agent = agent_with_values(IBRLConfig(beta=5.0), [[0.0, 0.0], [gap, gap]])
    obs = random_obs(agent, 10_000, 0)
    first, second = agent.act(obs, explore=True).source, agent.act(obs, explore=True).source
    assert not torch.equal(first, second), "the counter did not move"
    share = float(torch.sigmoid(torch.tensor(5.0 * gap)))
    chosen, draws = int(first.sum() + second.sum()), 20_000
    chi_square = sum(
        (seen - expected) ** 2 / expected
        for seen, expected in ((chosen, draws * share), (draws - chosen, draws * (1 - share)))
    )
    assert chi_square < 10.83
    # deterministic without exploration
    assert agent.act(obs, explore=False).source.unique().tolist() == [1 if gap > 0 else 0]


def test_soft_update_moves_the_counter_and_greedy_does_not() -> None:
    obs_seed = 0
    for beta, expected in ((None, 0), (2.0, 1)):
        agent = agent_with_values(IBRLConfig(beta=beta), [[0.0, 0.0], [0.0, 0.0]])
        agent.act(random_obs(agent, 2, obs_seed), explore=True)
        assert int(agent.random.counter) == expected


def test_actor_proposal_off_acts_by_rl_and_still_proposes_for_the_buffer() -> None:
    agent = agent_with_values(IBRLConfig(actor_proposal=False), [[0.0, 0.0], [1.0, 1.0]])
    obs = random_obs(agent, 4, 0)
    action = agent.act(obs, explore=True)
    assert action.source.tolist() == [0] * 4 and action.il_action.shape == (4, 1, ACTION_DIM)


def test_several_samples_of_a_stochastic_imitation_policy() -> None:
    agent = agent_with_values(IBRLConfig(), [[0.0, 0.0], [1.0, 1.0], [3.0, 3.0], [2.0, 2.0]])
    samples = torch.rand(4, 3, ACTION_DIM, dtype=torch.float64)
    agent.bc_policy = lambda obs: samples
    action = agent.act(random_obs(agent, 4, 0), explore=True)
    assert torch.equal(action.action, samples[:, 1]) and action.source.tolist() == [1] * 4
    assert torch.equal(action.il_action, samples) and action.q.shape == (4, 4)


def test_td3_acts_by_its_actor() -> None:
    agent = make_agent(TD3Config(), state_networks())
    obs = random_obs(agent, 4, 0)
    action = agent.act(obs, explore=False)
    assert torch.equal(action.action, agent.actor(obs["state"]).detach())
    assert action.source.tolist() == [0] * 4 and action.il_action is None and action.q.shape == (1, 4)


def test_evaluation_is_deterministic_and_asks_every_critic() -> None:
    agent = make_agent(IBRLConfig(beta=3.0, subset_size=2), state_networks(num_critics=5))
    obs = random_obs(agent, 50, 0)
    before = agent.random.generator.get_state()
    first, second = agent.act(obs, explore=False).action, agent.act(obs, explore=False).action
    assert torch.equal(first, second) and torch.equal(before, agent.random.generator.get_state())
    rl_action, il_action = agent.actor(obs["state"]).detach(), agent.bc_policy(obs)
    q = agent.target_critic(obs["state"], torch.stack([rl_action, il_action])).amin(1)
    assert torch.equal(first, torch.where((q[1] > q[0]).unsqueeze(1), il_action, rl_action))


RULES = [
    # critics disagree about the RL action: mean 1.0, deviation 0.5; IL 0.8 for certain
    (ProposalRule("lcb", std_factor=0.0), [[0.5, 1.5], [0.8, 0.8]], 0),
    (ProposalRule("lcb", std_factor=1.0), [[0.5, 1.5], [0.8, 0.8]], 1),
    (ProposalRule("lcb", std_factor=0.3), [[0.5, 1.5], [0.8, 0.8]], 0),
    # the critics disagree about the state, and agree that RL is 0.2 better
    (ProposalRule("lcb", std_factor=1.0), [[0.5, 1.5], [0.3, 1.3]], 1),
    (ProposalRule("paired", std_factor=1.0), [[0.5, 1.5], [0.3, 1.3]], 0),
    (ProposalRule("paired", std_factor=1.0), [[0.5, 1.5], [0.8, 0.8]], 1),
    # a margin, also on the paper's minimum
    (ProposalRule("paired", std_factor=1.0, margin=0.3), [[0.5, 1.5], [0.3, 1.3]], 1),
    (ProposalRule("min", margin=0.0), [[0.9, 1.0], [0.8, 0.8]], 0),
    (ProposalRule("min", margin=0.2), [[0.9, 1.0], [0.8, 0.8]], 1),
]


@pytest.mark.parametrize(("rule", "values", "expected"), RULES)
def test_acting_rules_ask_for_evidence(rule: ProposalRule, values: list[list[float]], expected: int) -> None:
    agent = agent_with_values(IBRLConfig(acting_rule=rule), values)
    obs = random_obs(agent, 3, 0)
    for explore in (True, False):
        assert agent.act(obs, explore=explore).source.tolist() == [expected] * 3


def test_pixels_act_on_uint8_and_on_scaled_images() -> None:
    agent = make_agent(IBRLConfig(), pixel_networks(), dtype=torch.float32)
    obs = random_obs(agent, 3, 0)
    raw = (torch.rand(3, 3, 32, 32) * 255).to(torch.uint8)
    scaled = raw.float() / 255 - 0.5
    first = agent.act({**obs, "camera": raw}, explore=False)
    second = agent.act({**obs, "camera": scaled}, explore=False)
    assert torch.equal(first.action, second.action) and first.source.shape == (3,)


def test_bad_observations_get_one_clear_error() -> None:
    agent = make_agent(IBRLConfig(), state_networks())
    with pytest.raises(ValueError, match=r"obs: expected keys \['state'\], got \['camera'\]"):
        agent.act({"camera": torch.zeros(1, 3, 8, 8)}, explore=False)
    with pytest.raises(ValueError, match=r"obs\[state\]: expected \[2, 6\], got \[2, 5\]"):
        agent.act({"state": torch.zeros(2, 5)}, explore=False)
