"""The policy module: the choice among proposals, and its agreement with the agents."""

from __future__ import annotations

import copy
import io
import warnings

import pytest
import torch
from policies import ACTION_DIM, make_agent, make_bc_policy, pixel_contract, random_obs, state_contract

from ibrl_fast.agents import IBRLConfig, IBRLRPLConfig, ProposalRule, RPLConfig, TD3Config
from ibrl_fast.deploy import ObservationContract, ObservationField
from ibrl_fast.deploy.export import make_policy_module, script_policy
from ibrl_fast.nn.policies import SinglePolicy, enable_rl

RULES = [
    ProposalRule(),
    ProposalRule("min", margin=0.005),
    ProposalRule("lcb", std_factor=0.01, margin=0.002),
    ProposalRule("paired", std_factor=0.2),
]


def reference_choice(q: list[list[float]], rule: ProposalRule) -> int:
    """The better of two proposals from values [2][critics], in plain Python; equal scores go to RL."""
    if rule.kind == "min":
        rl, il = min(q[0]), min(q[1])
    else:
        rl, il = sum(q[0]) / len(q[0]), sum(q[1]) / len(q[1])
        doubted = q[0] if rule.kind == "lcb" else [a - b for a, b in zip(q[0], q[1], strict=True)]
        mean = sum(doubted) / len(doubted)
        rl -= rule.std_factor * (sum((x - mean) ** 2 for x in doubted) / len(doubted)) ** 0.5
    return int(il > rl - rule.margin)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.kind}-{rule.margin}")
def test_hybrid_policy_equals_a_loop_in_float64(rule: ProposalRule) -> None:
    contract = state_contract()
    agent = make_agent(contract, IBRLConfig(acting_rule=rule), num_critics=5)
    obs = random_obs(contract, 64)
    action, source = make_policy_module(agent, contract).act(obs)

    # the same networks in float64, one observation at a time
    encoder, actor, critic, bc_policy = (
        copy.deepcopy(module).double()
        for module in (agent.encoder, agent.actor, agent.target_critic, agent.bc_policy)
    )
    for row in range(64):
        one = {key: value[row : row + 1].double() for key, value in obs.items()}
        features = encoder(one)
        proposals = [actor(features), bc_policy(one)]
        q = [critic(features, proposal[None])[0, :, 0].tolist() for proposal in proposals]
        choice = reference_choice(q, rule)
        assert source[row].item() == choice
        torch.testing.assert_close(action[row].double(), proposals[choice][0], atol=1e-5, rtol=0)
    # both sources occur, or the test says little
    assert 5 < int(source.sum()) < 59


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.kind}-{rule.margin}")
@pytest.mark.parametrize("num_critics", [2, 5])
def test_policy_equals_eval_action(num_critics: int, rule: ProposalRule) -> None:
    contract = state_contract()
    agent = make_agent(contract, IBRLConfig(acting_rule=rule, beta=10.0), num_critics)
    obs = random_obs(contract, 64)
    expected = agent.act(obs, explore=False)
    for policy in (make_policy_module(agent, contract), script_policy(make_policy_module(agent, contract))):
        action, source = policy.act(obs)
        torch.testing.assert_close(action, expected.action, atol=1e-5, rtol=0)
        torch.testing.assert_close(policy(obs), agent.act(obs, explore=False).action, atol=1e-5, rtol=0)
        assert torch.equal(source, expected.source)


def test_equal_scores_go_to_the_actor() -> None:
    contract = state_contract()
    agent = make_agent(contract, IBRLConfig())
    with torch.no_grad():
        for parameter in agent.target_critic.parameters():
            parameter.zero_()
    _, source = script_policy(make_policy_module(agent, contract)).act(random_obs(contract, 8))
    assert source.tolist() == [0] * 8


def test_rl_action_can_be_switched_off_and_on() -> None:
    contract = state_contract()
    agent = make_agent(contract, IBRLConfig(), num_critics=5)
    obs = random_obs(contract, 64)
    module = make_policy_module(agent, contract)
    scripted = script_policy(module)
    before = scripted.act(obs)[1]
    assert 0 < int(before.sum()) < 64

    # the scripted policy follows, and so does what is saved
    enable_rl(module, False)
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    for policy in (module, scripted, torch.jit.load(file)):
        action, source = policy.act(obs)
        assert source.tolist() == [1] * 64
        torch.testing.assert_close(action, agent.bc_policy(obs), atol=1e-5, rtol=0)
    enable_rl(module, True)
    assert torch.equal(scripted.act(obs)[1], before)
    with pytest.raises(TypeError, match="policy: expected HybridPolicy, got Linear"):
        enable_rl(torch.nn.Linear(1, 1), True)


def test_samples_of_a_stochastic_imitation_policy_all_compete() -> None:
    class Samples(torch.nn.Module):
        """Four samples around a policy's action."""

        def __init__(self, policy: torch.nn.Module) -> None:
            super().__init__()
            self.policy = policy
            self.register_buffer("offset", torch.linspace(-0.5, 0.5, 4).view(1, 4, 1))

        def forward(self, obs: dict[str, torch.Tensor]) -> torch.Tensor:
            return (self.policy(obs).unsqueeze(1) + self.offset).clamp(-1.0, 1.0)

    contract = state_contract()
    agent = make_agent(contract, IBRLConfig(acting_rule=ProposalRule("paired")), num_critics=5)
    agent.bc_policy = Samples(agent.bc_policy)
    obs = random_obs(contract, 64)
    expected = agent.act(obs, explore=False)
    action, source = script_policy(make_policy_module(agent, contract)).act(obs)
    torch.testing.assert_close(action, expected.action, atol=1e-5, rtol=0)
    assert torch.equal(source, expected.source)


@pytest.mark.parametrize(
    "config",
    [TD3Config(), IBRLConfig(actor_proposal=False), RPLConfig(), IBRLRPLConfig(actor_proposal=False)],
    ids=["td3", "no actor proposal", "rpl", "rpl, bootstrapping with proposals"],
)
def test_policy_of_an_agent_without_a_choice_is_its_actor(config: TD3Config) -> None:
    contract = state_contract(stack=1)
    agent = make_agent(contract, config)
    obs = random_obs(contract, 64)
    module = make_policy_module(agent, contract)
    action, source = script_policy(module).act(obs)
    assert isinstance(module, SinglePolicy)
    torch.testing.assert_close(action, agent.act(obs, explore=False).action, atol=1e-5, rtol=0)
    assert source.dtype == torch.int64 and source.tolist() == [0] * 64


def test_imitation_policy_alone_reports_il() -> None:
    contract = pixel_contract()
    bc_policy = make_bc_policy(contract)
    obs = random_obs(contract, 4)
    action, source = script_policy(make_policy_module(bc_policy, contract)).act(obs)
    torch.testing.assert_close(action, bc_policy(obs).detach(), atol=1e-5, rtol=0)
    assert source.tolist() == [1] * 4


def test_module_scripted_once_follows_training() -> None:
    contract = state_contract()
    agent = make_agent(contract, TD3Config())
    module = make_policy_module(agent, contract)
    scripted = script_policy(module)
    obs = random_obs(contract, 16)
    before = scripted(obs)

    # one optimiser step on the agent's own actor, and a checkpoint loaded into it
    agent.actor(agent.encoder(obs)).square().sum().backward()
    agent.actor_optimizer.step()
    agent.actor.load_state_dict(copy.deepcopy(agent.actor.state_dict()))
    after = scripted(obs)
    assert (after - before).abs().max() > 1e-5
    # the agent's networks add up in another order
    torch.testing.assert_close(after, agent.act(obs, explore=False).action, atol=1e-6, rtol=0)

    # what is saved now is the present, and stays so while training goes on
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    saved = torch.jit.load(file)
    with torch.no_grad():
        for parameter in agent.actor.parameters():
            parameter.mul_(1.5)
    assert torch.equal(saved(obs), after)
    assert not torch.equal(scripted(obs), after)


def test_acting_needs_no_gradient_and_draws_no_random_number() -> None:
    contract = state_contract()
    scripted = script_policy(make_policy_module(make_agent(contract, IBRLConfig()), contract))
    state = torch.get_rng_state()
    obs = random_obs(contract, 4)
    first, second = scripted(obs), scripted(obs)
    assert not first.requires_grad
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_scripting_does_not_warn() -> None:
    contract = state_contract()
    module = make_policy_module(make_bc_policy(contract), contract)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        script_policy(module)


def test_contract_has_to_fit_the_networks() -> None:
    bc_policy = make_bc_policy(state_contract(stack=3))
    wrong = {
        "expected what the networks read": state_contract(stack=2),
        "expected the observation 'state'": ObservationContract({"x": ObservationField((15,))}, ACTION_DIM),
        r"got also \['extra'\]": ObservationContract(
            {"state": ObservationField((15,)), "extra": ObservationField((2,))}, ACTION_DIM
        ),
        "action_dim: expected 3": ObservationContract({"state": ObservationField((15,))}, 4),
        "expected \\[-1, 1\\]": ObservationContract({"state": ObservationField((15,))}, 3, action_high=2.0),
    }
    for message, contract in wrong.items():
        with pytest.raises(ValueError, match=message):
            make_policy_module(bc_policy, contract)
    with pytest.raises(TypeError, match="source: expected a learner"):
        make_policy_module("agent", state_contract())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="source: expected"):
        SinglePolicy(bc_policy, 2)
