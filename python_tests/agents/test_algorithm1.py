"""Whole rounds of IBRL against Algorithm 1 written out: 1e-9 in float64, with the same random numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from agent_helpers import (
    ACTION_DIM,
    PIXEL_SHAPES,
    STATE_SHAPES,
    RecordingRandom,
    make_agent,
    pixel_networks,
    state_networks,
)
from algorithm1 import Algorithm1, PixelNets, StateNets, nstep_return
from torch import Tensor

from ibrl_fast.agents import IBRLConfig
from ibrl_fast.data import BufferPlan, Demonstration, ObsSpec, ReplayBuffer
from ibrl_fast.ops import _philox as philox

# exact in float32 up to its third power, as the buffer computes in float32
GAMMA = 63 / 64
TOLERANCE = 1e-9


def make_episodes(shapes: dict[str, tuple[int, ...]], seed: int) -> list[Demonstration]:
    """Short episodes: some terminate with reward, some are truncated."""
    rng = np.random.default_rng(seed)
    episodes = []
    for number, steps in enumerate((5, 1, 7, 2, 9, 4)):
        observations = {
            key: rng.integers(0, 256, (steps + 1, *shape)).astype(np.uint8)
            if len(shape) == 3
            else rng.normal(size=(steps + 1, *shape)).astype(np.float32)
            for key, shape in shapes.items()
        }
        ends = np.arange(steps) == steps - 1
        terminated = ends & (number % 2 == 0)
        episodes.append(
            Demonstration(
                observations=observations,
                actions=rng.uniform(-1, 1, (steps, ACTION_DIM)).astype(np.float32),
                # quarters are exact
                rewards=rng.integers(-2, 5, steps).astype(np.float32) / 4,
                terminated=terminated,
                truncated=ends & ~terminated,
            )
        )
    return episodes


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
        beta=config.beta,
        subset_size=config.subset_size,
        sigma=config.exploration_std,
        clip=config.noise_clip,
        rho=config.polyak,
        lr=config.learning_rate,
    )
    initial = copied_weights(agent)["actor"]["mlp.output.weight"].detach().clone()

    # raw episodes, and the same in the replay buffer
    episodes = make_episodes(shapes, seed=1)
    first_row, where = 0, {}
    for episode in episodes:
        for t in range(len(episode)):
            where[first_row + t] = (episode, t)
        first_row += len(episode) + 1
    buffer = ReplayBuffer(
        BufferPlan(
            {
                key: ObsSpec(shape, torch.uint8 if len(shape) == 3 else torch.float32)
                for key, shape in shapes.items()
            },
            ACTION_DIM,
            capacity=50,
            max_episode_steps=10,
            demo_capacity=sum(len(episode) for episode in episodes),
            num_demos=len(episodes),
            nstep=nstep,
            gamma=GAMMA,
            random_shift_pad=0,
            seed=3,
        )
    )
    buffer.add_demonstrations(episodes, [torch.zeros(len(e) + 1, 1, ACTION_DIM) for e in episodes])

    seen = SimpleNamespace(terminated=0, truncated=0, il_target=0, il_act=0)
    for round_number in range(rounds):
        # act (lines 6 to 9)
        batch = buffer.sample(4).to(torch.float64)
        il_action = agent.propose(batch.obs)
        action = agent.act(batch.obs, explore=True)
        take_uniforms(random, philox.IBRL_SELECT, 4)
        expected_action, expected_source = reference.act(batch.obs, il_action[:, 0])
        assert action.source.tolist() == expected_source, f"round {round_number}"
        torch.testing.assert_close(action.action, expected_action, rtol=0, atol=TOLERANCE)
        seen.il_act += sum(expected_source)

        for _ in range(critic_updates):
            # the batch (line 15), its returns from the raw episodes
            batch = buffer.sample(32).to(torch.float64)
            batch.il_action_next = agent.propose(batch.next_obs)
            reward, discount = torch.zeros(32, dtype=torch.float64), torch.zeros(32, dtype=torch.float64)
            for i, row in enumerate(batch.rows.tolist()):
                episode, t = where[row]
                reward[i], discount[i], follows = nstep_return(episode, t, nstep, GAMMA)
                seen.terminated += int(discount[i] == 0)
                seen.truncated += int(bool(episode.truncated[-1]) and follows == len(episode))
                assert np.array_equal(batch.action[i].numpy(), episode.actions[t].astype(np.float64))
                assert_same_obs(batch.obs, i, episode, t)
                assert_same_obs(batch.next_obs, i, episode, follows)
            # one critic update (lines 16 to 19)
            metrics = agent.update_critic(batch)
            take_uniforms(random, philox.IBRL_TARGET, 32)
            target = reference.target(reward, discount, batch.next_obs, batch.il_action_next[:, 0])
            loss = reference.update_critic(batch.obs, batch.action, target)
            assert abs(float(metrics["critic_loss"]) - loss) < TOLERANCE
            assert abs(float(metrics["target_mean"]) - float(target.mean())) < TOLERANCE
            seen.il_target += float(metrics["il_share_bootstrap"]) * 32
        # the actor, with the last batch (lines 21 and 22)
        metrics = agent.update_actor(batch)
        loss = reference.update_actor(batch.obs)
        assert abs(float(metrics["actor_loss"]) - loss) < TOLERANCE
        assert_same_weights(agent, reference)
    assert all(not values for values in random.draws.values()), (
        "random numbers that Algorithm 1 does not draw"
    )
    assert (agent.actor.mlp.output.weight - initial).abs().max() > 1e-3, "the actor did not learn"
    return seen


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
    # the comparison means something only where every case occurred
    assert min(seen.terminated, seen.truncated, seen.il_act) > 0
    assert 0 < seen.il_target < 32 * 20


@pytest.mark.parametrize("nstep", [1, 3])
@pytest.mark.parametrize("beta", [None, 3.0])
@pytest.mark.parametrize("num_critics", [2, 3])
def test_pixel_rounds(num_critics: int, beta: float | None, nstep: int) -> None:
    """ViT, spatial embedding, proprioception; the encoder learns from the critics alone."""
    config = IBRLConfig(beta=beta, learning_rate=3e-3, polyak=0.9)
    agent = make_agent(config, pixel_networks(num_critics))
    nets = PixelNets(layers=2, heads=4, compress=12)
    seen = run_rounds(agent, nets, PIXEL_SHAPES, nstep=nstep, rounds=3, critic_updates=2)
    assert min(seen.terminated, seen.truncated) > 0
    assert 0 < seen.il_target < 32 * 6
