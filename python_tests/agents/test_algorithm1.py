"""Whole rounds of every method against Algorithm 1 written out: 1e-9 in float64, the same random numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from agent_helpers import (
    PIXEL_SHAPES,
    STATE_SHAPES,
    RecordingRandom,
    make_agent,
    output_layer,
    pixel_networks,
    random_batch,
    random_obs,
    state_networks,
)
from algorithm1 import Algorithm1, PixelNets, ResidualNets, StateNets, nstep_return
from raw_episodes import GAMMA, Steps
from torch import Tensor

from ibrl_fast.agents import (
    IBRLConfig,
    IBRLRPLConfig,
    ResFiTConfig,
    RFTConfig,
    RLPDConfig,
    RPLConfig,
    TD3Config,
)
from ibrl_fast.data import Demonstration
from ibrl_fast.ops import _philox as philox

TOLERANCE = 1e-9


def copied_weights(agent: Any) -> dict[str, Any]:
    """Plain tensors, one dict per critic."""
    critic = {name: value.detach().clone() for name, value in agent.critic.named_parameters()}
    return {
        "encoder": dict(agent.encoder.named_parameters()),
        "actor": dict(agent.actor.named_parameters()),
        "critics": [{name: value[i] for name, value in critic.items()} for i in range(agent.num_critics)],
    }


def take_uniforms(random: RecordingRandom, stream: int, size: int) -> None:
    """The softmax's random numbers of one call, as the op's documented generator gives them."""
    for counter in random.counters:
        words = philox.random4(random.seed, counter, stream, size)
        random.draws["uniform"].append(philox.uniform53(words))
    random.counters.clear()


def assert_same_weights(agent: Any, reference: Algorithm1) -> None:
    """Online and target weights of every part."""
    for online, expected in ((agent.encoder, reference.encoder), (agent.actor, reference.actor)):
        for name, value in online.named_parameters():
            torch.testing.assert_close(value.detach(), expected[name].detach(), rtol=0, atol=TOLERANCE)
    for name, value in agent.target_actor.named_parameters():
        torch.testing.assert_close(value, reference.target_actor[name], rtol=0, atol=TOLERANCE)
    for module, critics in (
        (agent.critic, reference.critics),
        (agent.target_critic, reference.target_critics),
    ):
        for name, value in module.named_parameters():
            expected = torch.stack([one[name].detach() for one in critics])
            torch.testing.assert_close(value.detach(), expected, rtol=0, atol=TOLERANCE)


def run_rounds(
    agent: Any, nets: Any, shapes: dict[str, tuple[int, ...]], *, nstep: int, rounds: int, critic_updates: int
) -> SimpleNamespace:
    """Acts, updates and compares after every step; returns how often each case was met."""
    config = agent.config
    random = agent.random = RecordingRandom(seed=7)
    reference = Algorithm1(
        nets,
        copied_weights(agent),
        random.draws,
        beta=getattr(config, "beta", None),
        actor_proposal=getattr(config, "actor_proposal", False),
        bootstrap_proposal=getattr(config, "bootstrap_proposal", False),
        subset_size=config.subset_size,
        objective=config.actor_objective,
        sigma=config.exploration_std,
        clip=config.noise_clip,
        rho=config.polyak,
        lr=config.learning_rate,
        alpha=getattr(config, "bc_weight", 0.0),
    )
    # the last batch of a method with an imitation loss is for that alone
    regularized = isinstance(config, RFTConfig)
    initial = output_layer(agent.actor).weight.detach().clone()
    steps = Steps(shapes, nstep)

    seen = SimpleNamespace(
        terminated=0,
        truncated=0,
        demos=0,
        transitions=0,
        il_target=0,
        il_act=0,
        acts=0,
        choices=set(),
        shares=set(),
    )
    for round_number in range(rounds):
        # act (lines 6 to 9)
        batch = steps.buffer.sample(4).to(torch.float64)
        action = agent.act(batch.obs, explore=True)
        take_uniforms(random, philox.IBRL_SELECT, 4)
        il_actions = imitation(agent, batch.obs)
        expected_action, choices, expected_q = reference.act(batch.obs, il_actions)
        assert action.source.tolist() == [min(choice, 1) for choice in choices], f"round {round_number}"
        torch.testing.assert_close(action.action, expected_action, rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(action.q, torch.stack(expected_q), rtol=0, atol=TOLERANCE)
        seen.il_act += int(action.source.sum())
        seen.acts += 4
        seen.choices |= set(choices)

        requests = config.batches(32, critic_updates)
        assert len(requests) == critic_updates + regularized
        for request in requests[:critic_updates]:
            # the batch (line 15), its returns from the raw episodes
            batch = steps.buffer.sample(request.size, request.demo_fraction).to(torch.float64)
            reward, discount = torch.zeros(32, dtype=torch.float64), torch.zeros(32, dtype=torch.float64)
            from_demos = []
            for i in range(32):
                episode, t, is_demo = steps.find(batch.obs, i)
                from_demos.append(is_demo)
                reward[i], discount[i], follows = nstep_return(episode, t, nstep, GAMMA)
                seen.terminated += int(discount[i] == 0)
                seen.truncated += int(bool(episode.truncated[-1]) and follows == len(episode))
                assert np.array_equal(batch.action[i].numpy(), episode.actions[t].astype(np.float64))
                assert_same_obs(batch.obs, i, episode, t)
                assert_same_obs(batch.next_obs, i, episode, follows)
            # demonstrations lie before all online steps
            assert (batch.rows < steps.demo_rows).tolist() == from_demos
            if request.demo_fraction is not None:
                assert sum(from_demos) == request.demo_fraction * 32
            seen.demos += sum(from_demos)
            seen.transitions += 32
            # one critic update (lines 16 to 19)
            il_actions, il_next = imitation(agent, batch.obs), imitation(agent, batch.next_obs)
            if il_actions:
                batch.il_action, batch.il_action_next = torch.stack(il_actions, 1), torch.stack(il_next, 1)
            metrics = agent.update_critic(batch)
            take_uniforms(random, philox.IBRL_TARGET, 32)
            target = reference.target(reward, discount, batch.next_obs, il_next)
            loss = reference.update_critic(batch.obs, batch.action, target)
            assert abs(float(metrics["critic_loss"]) - loss) < TOLERANCE
            assert abs(float(metrics["target_mean"]) - float(target.mean())) < TOLERANCE
            seen.il_target += float(metrics["il_share_bootstrap"]) * 32
        # the actor, with the last batch (lines 21 and 22)
        if regularized:
            demos = steps.buffer.sample(requests[-1].size, requests[-1].demo_fraction).to(torch.float64)
            assert (demos.rows < steps.demo_rows).all()
            demos.il_action = torch.stack(imitation(agent, demos.obs), 1)
            demos.il_action_next = torch.stack(imitation(agent, demos.next_obs), 1)
            metrics = agent.update_regularized_actor(batch, demos)
            loss = reference.update_actor(
                batch.obs, il_actions, (demos.obs, demos.action, demos.il_action[:, 0])
            )
            assert float(metrics["bc_weight"]) == reference.share
            seen.shares.add(reference.share)
        else:
            metrics = agent.update_actor(batch)
            loss = reference.update_actor(batch.obs, il_actions)
        assert abs(float(metrics["actor_loss"]) - loss) < TOLERANCE
        assert_same_weights(agent, reference)
    assert all(not values for values in random.draws.values()), (
        "random numbers that Algorithm 1 does not draw"
    )
    assert (output_layer(agent.actor).weight - initial).abs().max() > 1e-3, "the actor did not learn"
    # the comparison means something only where every case occurred
    assert min(seen.terminated, seen.truncated) > 0 and 0 < seen.demos < seen.transitions
    return seen


def imitation(agent: Any, obs: dict[str, Tensor]) -> list[Tensor]:
    """mu's samples, each `[N, action_dim]`, from the policy itself; none for a method without mu."""
    if agent.bc_policy is None:
        return []
    action = agent.bc_policy(obs).detach()
    return [action] if action.dim() == 2 else list(action.unbind(1))


def assert_same_obs(obs: dict[str, Tensor], i: int, episode: Demonstration, t: int) -> None:
    """Row i of a batch is step t of a raw episode."""
    for key, value in obs.items():
        raw = torch.from_numpy(episode.observations[key][t]).double()
        expected = raw / 255 - 0.5 if raw.dim() == 3 else raw
        torch.testing.assert_close(value[i], expected, rtol=0, atol=1e-6 if raw.dim() == 3 else 0)


@pytest.mark.parametrize("nstep", [1, 3])
@pytest.mark.parametrize("beta", [None, 3.0])
def test_state_rounds(beta: float | None, nstep: int) -> None:
    """RED-Q from state: E = 5, K = 2, G = 5."""
    config = IBRLConfig(beta=beta, learning_rate=3e-3, polyak=0.9)
    agent = make_agent(config, state_networks(num_critics=5))
    seen = run_rounds(agent, StateNets(2), STATE_SHAPES, nstep=nstep, rounds=4, critic_updates=5)
    assert seen.il_act > 0
    assert 0 < seen.il_target < 32 * 20


@pytest.mark.parametrize("config", [TD3Config, IBRLConfig, RPLConfig])
def test_options_of_the_base(config: type[TD3Config]) -> None:
    """The actor climbs the mean of the critics; a share of every method's batches is demonstrations."""
    agent = make_agent(
        config(learning_rate=3e-3, polyak=0.9, actor_objective="mean", demo_fraction=0.75),
        state_networks(num_critics=4),
    )
    nets = ResidualNets(StateNets(2)) if agent.config.residual else StateNets(2)
    seen = run_rounds(agent, nets, STATE_SHAPES, nstep=3, rounds=4, critic_updates=2)
    assert seen.demos == 0.75 * seen.transitions


@pytest.mark.parametrize("nstep", [1, 3])
@pytest.mark.parametrize("beta", [None, 3.0])
@pytest.mark.parametrize("num_critics", [2, 3])
def test_pixel_rounds(num_critics: int, beta: float | None, nstep: int) -> None:
    """ViT, spatial embedding, proprioception; the encoder learns from the critics alone."""
    config = IBRLConfig(beta=beta, learning_rate=3e-3, polyak=0.9)
    agent = make_agent(config, pixel_networks(num_critics))
    seen = run_rounds(agent, PIXEL_NETS, PIXEL_SHAPES, nstep=nstep, rounds=3, critic_updates=2)
    assert 0 < seen.il_target < 32 * 6


PIXEL_NETS = PixelNets(layers=2, heads=4, compress=12)
LEARNING: dict[str, Any] = {"learning_rate": 3e-3, "polyak": 0.9}


@pytest.mark.parametrize("kind", ["state", "pixels"])
@pytest.mark.parametrize(
    "config",
    [TD3Config(**LEARNING), RLPDConfig(**LEARNING), RLPDConfig(demo_fraction=0.25, **LEARNING)],
    ids=["td3", "rlpd", "rlpd-quarter"],
)
def test_rounds_without_imitation(config: TD3Config, kind: str) -> None:
    """TD3 draws from all transitions; a share of RLPD's batches, exact in each, is demonstrations."""
    if kind == "state":
        agent, nets, shapes = make_agent(config, state_networks()), StateNets(2), STATE_SHAPES
    else:
        agent, nets, shapes = make_agent(config, pixel_networks()), PIXEL_NETS, PIXEL_SHAPES
    seen = run_rounds(agent, nets, shapes, nstep=3, rounds=3, critic_updates=3)
    assert seen.il_act == seen.il_target == 0
    if isinstance(config, RLPDConfig):
        assert seen.demos == config.demo_fraction * seen.transitions


@pytest.mark.parametrize("kind", ["state", "pixels"])
@pytest.mark.parametrize("objective", ["min", "mean"])
def test_rounds_of_regularized_fine_tuning(objective: Any, kind: str) -> None:
    """alpha lambda |a - pi|^2 on demonstrations, lambda counted sample by sample; it moves both ways."""
    config = RFTConfig(bc_weight=0.7, actor_objective=objective, **LEARNING)
    if kind == "state":
        agent, nets, shapes = make_agent(config, state_networks()), StateNets(2), STATE_SHAPES
    else:
        agent, nets, shapes = make_agent(config, pixel_networks()), PIXEL_NETS, PIXEL_SHAPES
    seen = run_rounds(agent, nets, shapes, nstep=3, rounds=5, critic_updates=2)
    assert seen.il_act == seen.il_target == 0
    assert len(seen.shares) > 2 and max(seen.shares) > 0


@pytest.mark.parametrize("kind", ["state", "pixels"])
@pytest.mark.parametrize("output_std", [0.0, 0.5])
@pytest.mark.parametrize(
    "config",
    [
        RPLConfig(**LEARNING),
        ResFiTConfig(action_scale=0.7, exploration_std=0.2, **LEARNING),
        IBRLRPLConfig(**LEARNING),
        IBRLRPLConfig(beta=3.0, **LEARNING),
    ],
    ids=["rpl", "resfit", "ibrl_rpl", "ibrl_rpl-soft"],
)
def test_rounds_of_residual_actors(config: TD3Config, output_std: float, kind: str) -> None:
    """mu + pi(s, mu), from the zero that pi's last layer starts with and from where corrections clip."""
    if kind == "state":
        network, plain, shapes = state_networks(), StateNets(2), STATE_SHAPES
    else:
        network, plain, shapes = pixel_networks(), PIXEL_NETS, PIXEL_SHAPES
    agent = make_agent(config, network, output_std=output_std)
    nets = ResidualNets(plain, scale=config.residual_scale or 0.0)
    seen = run_rounds(agent, nets, shapes, nstep=3, rounds=4, critic_updates=2)
    if isinstance(config, IBRLConfig):
        assert 0 < seen.il_act < seen.acts and 0 < seen.il_target < seen.transitions
    else:
        assert seen.il_act == seen.il_target == 0
    assert output_std == 0.0 or 0 < nets.clipped < nets.components


@pytest.mark.parametrize(
    "config", [RPLConfig(), ResFiTConfig(), IBRLRPLConfig()], ids=["rpl", "resfit", "ibrl_rpl"]
)
@pytest.mark.parametrize("kind", ["state", "pixels"])
def test_first_actions_of_a_residual_actor_are_the_imitation_policys(kind: str, config: TD3Config) -> None:
    agent = make_agent(config, state_networks() if kind == "state" else pixel_networks(), output_std=0.0)
    obs = random_obs(agent, 8, seed=0)
    expected = agent.bc_policy(obs)
    assert float(expected.detach().std()) > 0.1
    action = agent.act(obs, explore=False)
    torch.testing.assert_close(action.action, expected, rtol=0, atol=0)
    # RL and IL propose the same: equal values go to RL
    assert not action.source.any()
    # exploring adds noise to it, and one update changes it
    assert not torch.equal(agent.act(obs, explore=True).action, expected)
    agent.update([random_batch(agent)])
    assert not torch.equal(agent.act(obs, explore=False).action, expected)


@pytest.mark.parametrize(
    "config",
    [
        IBRLConfig(actor_proposal=False, **LEARNING),
        IBRLConfig(bootstrap_proposal=False, beta=3.0, **LEARNING),
    ],
    ids=["no actor proposal", "no bootstrap proposal"],
)
def test_rounds_with_one_of_the_two_proposals(config: IBRLConfig) -> None:
    agent = make_agent(config, state_networks())
    seen = run_rounds(agent, StateNets(2), STATE_SHAPES, nstep=3, rounds=4, critic_updates=2)
    assert (seen.il_act > 0) == config.actor_proposal
    assert (seen.il_target > 0) == config.bootstrap_proposal


@pytest.mark.parametrize("kind", ["state", "pixels"])
@pytest.mark.parametrize(
    "config",
    [
        IBRLConfig(**LEARNING),
        IBRLConfig(beta=3.0, **LEARNING),
        IBRLRPLConfig(beta=3.0, **LEARNING),
        RPLConfig(**LEARNING),
    ],
    ids=["ibrl", "ibrl-soft", "ibrl_rpl-soft", "rpl"],
)
def test_rounds_with_samples_of_a_stochastic_imitation_policy(config: TD3Config, kind: str) -> None:
    """S = 3: all of them compete, and the first is what a residual actor corrects."""
    if kind == "state":
        network, plain, shapes = state_networks(), StateNets(2), STATE_SHAPES
    else:
        network, plain, shapes = pixel_networks(), PIXEL_NETS, PIXEL_SHAPES
    agent = make_agent(config, network, samples=3)
    assert agent.num_il_samples == 3
    nets = ResidualNets(plain) if config.residual else plain
    seen = run_rounds(agent, nets, shapes, nstep=3, rounds=6, critic_updates=2)
    if isinstance(config, IBRLConfig):
        assert len(seen.choices) >= 3 and 0 < seen.il_target < seen.transitions
    else:
        assert seen.choices == {0} and seen.il_target == 0
