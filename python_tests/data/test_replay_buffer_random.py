"""Thousands of random appends, compared with a list of episodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference_buffer import Episode, ReferenceBuffer, expected_transition
from small_buffers import is_demo, num_online

from ibrl_fast.data import BufferPlan, Demonstration, ObsSpec, ReplayBuffer

MAX_STEPS = 12
SPACE = {"state": ObsSpec((5,)), "proprio": ObsSpec((2,)), "wrist": ObsSpec((3, 4, 6), torch.uint8)}


class World:
    """The same random steps into both buffers; `state[0]` numbers the observations."""

    def __init__(self, *, num_envs, capacity, shortest, seed, samples=2, demos=3, **options):
        self.rng = np.random.default_rng(seed)
        self.num_envs, self.samples, self.shortest = num_envs, samples, shortest
        self.counter = 0
        demo_steps = [int(n) for n in self.rng.integers(1, 20, demos)]
        plan = BufferPlan(
            SPACE,
            3,
            capacity=capacity,
            max_episode_steps=MAX_STEPS,
            num_envs=num_envs,
            demo_capacity=sum(demo_steps),
            num_demos=demos,
            num_il_samples=samples,
            random_shift_pad=0,
            seed=seed,
            **options,
        )
        self.buffer = ReplayBuffer(plan)
        self.reference = ReferenceBuffer(num_envs, capacity // num_envs)
        self.left = [0] * num_envs
        self.demo_steps = demo_steps

    def observation(self):
        self.counter += 1
        state = np.concatenate([[self.counter], self.rng.normal(size=4)]).astype(np.float32)
        return {
            "state": state,
            "proprio": self.rng.normal(size=2).astype(np.float32),
            "wrist": self.rng.integers(0, 256, (3, 4, 6), dtype=np.uint8),
        }

    def proposal(self):
        return self.rng.uniform(-1, 1, (self.samples, 3)).astype(np.float32)

    def add_demos(self, chosen):
        demos, proposals = [], []
        for steps in chosen:
            episode = Episode([self.observation()], [self.proposal()])
            for t in range(steps):
                episode.actions.append(self.rng.uniform(-1, 1, 3).astype(np.float32))
                episode.rewards.append(float(self.rng.normal()))
                episode.terminated.append(t == steps - 1 and steps % 2 == 0)
                episode.truncated.append(t == steps - 1 and steps % 3 == 0)
                episode.observations.append(self.observation())
                episode.proposals.append(self.proposal())
            demos.append(
                Demonstration(
                    {key: np.stack([o[key] for o in episode.observations]) for key in SPACE},
                    np.stack(episode.actions),
                    np.asarray(episode.rewards),
                    np.asarray(episode.terminated),
                    np.asarray(episode.truncated),
                )
            )
            proposals.append(np.stack(episode.proposals))
            self.reference.demos.append(episode)
        self.buffer.add_demonstrations(demos, proposals)

    def start(self, envs):
        observations, proposals = [self.observation() for _ in envs], [self.proposal() for _ in envs]
        self.buffer.start_episode(envs, self.joined(observations), np.stack(proposals))
        for env, observation, proposal in zip(envs, observations, proposals):
            self.reference.start(env, observation, proposal)
            self.left[env] = int(self.rng.integers(self.shortest, MAX_STEPS + 1))

    def step(self, envs):
        observations, proposals = [self.observation() for _ in envs], [self.proposal() for _ in envs]
        actions = self.rng.uniform(-1, 1, (len(envs), 3)).astype(np.float32)
        rewards = self.rng.normal(size=len(envs)).astype(np.float32)
        kinds = self.rng.integers(0, 3, len(envs))
        for env in envs:
            self.left[env] -= 1
        ended = np.asarray([self.left[env] == 0 for env in envs])
        terminated, truncated = ended & (kinds != 0), ended & (kinds != 1)
        self.buffer.append(
            torch.from_numpy(actions),
            rewards,
            terminated,
            truncated,
            self.joined(observations),
            np.stack(proposals),
            env_ids=None if len(envs) == self.num_envs else envs,
        )
        for i, env in enumerate(envs):
            self.reference.append(
                env,
                actions[i],
                rewards[i],
                bool(terminated[i]),
                bool(truncated[i]),
                observations[i],
                proposals[i],
            )

    @staticmethod
    def joined(observations):
        return {key: np.stack([o[key] for o in observations]) for key in SPACE}

    def run(self, rounds):
        """Random rounds: new episodes where one ended, then a step of a random part of the environments."""
        for _ in range(rounds):
            ended = [env for env in range(self.num_envs) if self.left[env] == 0]
            if ended:
                self.start(ended)
            if self.rng.random() < 0.02:
                self.start([int(self.rng.integers(self.num_envs))])
            part = [env for env in range(self.num_envs) if self.rng.random() < 0.8]
            if part:
                self.step(part)

    def compare(self, batch, transitions, **semantics):
        """Each transition in the batch against the reference; returns the observation numbers seen."""
        stacks = {"state": 1, "proprio": 1, "wrist": 1} | semantics.pop("stacks")
        table = {float(e.observations[t]["state"][0]): (e, t) for e, t in transitions}
        numbers = batch.obs["state"][:, 0].tolist()
        first = {number: i for i, number in reversed(list(enumerate(numbers)))}
        for number, i in first.items():
            episode, t = table[number]
            obs, action, reward, discount, next_obs, il, il_next = expected_transition(
                episode, t, stacks=stacks, **semantics
            )
            for got, want in ((batch.obs, obs), (batch.next_obs, next_obs)):
                np.testing.assert_array_equal(got["state"][i].numpy(), want["state"])
                np.testing.assert_array_equal(got["proprio"][i].numpy(), want["proprio"])
                np.testing.assert_allclose(got["wrist"][i].numpy(), want["wrist"] / 255.0 - 0.5, atol=1e-6)
            np.testing.assert_array_equal(batch.action[i].numpy(), action)
            np.testing.assert_array_equal(batch.il_action[i].numpy(), il)
            np.testing.assert_array_equal(batch.il_action_next[i].numpy(), il_next)
            assert abs(batch.reward[i].item() - reward) < 2e-6
            assert abs(batch.discount[i].item() - discount) < 1e-6
        return set(numbers)


def numbers_of(transitions):
    return {float(e.observations[t]["state"][0]) for e, t in transitions}


@pytest.mark.parametrize("bootstrap_on_truncation", [True, False])
@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("nstep", [1, 3])
def test_matches_a_list_of_episodes(nstep, stack, bootstrap_on_truncation):
    semantics = {"nstep": nstep, "gamma": 0.9, "bootstrap_on_truncation": bootstrap_on_truncation}
    stacks = {"state": stack, "wrist": stack}
    world = World(num_envs=3, capacity=100, shortest=3, seed=7, stacks=stacks, **semantics)
    semantics["stacks"] = stacks
    world.add_demos(world.demo_steps[:2])
    for chapter in range(12):
        world.run(60)
        if chapter == 4:
            world.add_demos(world.demo_steps[2:])
        online, demos = world.reference.online(), world.reference.demonstrated()
        assert num_online(world.buffer) == len(online)
        assert world.buffer.num_demo_steps == len(demos)
        assert len(world.buffer) == len(online) + len(demos)

        # Enough draws to meet every transition: exactly those of the reference can be sampled.
        seen = world.compare(world.buffer.sample(2500), online + demos, **semantics)
        assert seen == numbers_of(online + demos)

        # The mixed sampler: exact sizes, demonstrations first.
        mixed = world.buffer.sample(10, 0.5)
        assert is_demo(world.buffer, mixed.rows).tolist() == [True] * 5 + [False] * 5
        numbers = mixed.obs["state"][:, 0].tolist()
        assert set(numbers[:5]) <= numbers_of(demos)
        assert set(numbers[5:]) <= numbers_of(online)


def test_many_appends_with_one_environment():
    semantics = {"nstep": 3, "gamma": 0.99, "bootstrap_on_truncation": True, "stacks": {"state": 3}}
    world = World(num_envs=1, capacity=64, shortest=3, seed=1, **semantics)
    world.add_demos(world.demo_steps)
    for _ in range(25):
        world.run(250)
        expected = world.reference.online() + world.reference.demonstrated()
        assert world.compare(world.buffer.sample(1500), expected, **semantics) == numbers_of(expected)


def test_very_short_episodes_evict_early_but_never_mix():
    """Tails use up the rows: what is held is then the newest part of what the reference holds."""
    semantics = {"nstep": 3, "gamma": 0.99, "bootstrap_on_truncation": True, "stacks": {}}
    world = World(num_envs=2, capacity=200, shortest=1, seed=3, **semantics)
    for _ in range(300):
        for env in range(2):
            if world.left[env] == 0:
                world.start([env])
                world.left[env] = 1
        world.step([0, 1])
    online = world.reference.online()
    assert 100 <= num_online(world.buffer) < len(online)
    seen = world.compare(world.buffer.sample(4000), online, **semantics)
    assert len(seen) == num_online(world.buffer)
    for episodes in world.reference.episodes:
        held = [float(e.observations[0]["state"][0]) in seen for e in episodes]
        assert held == sorted(held), "expected the newest episodes to be held"
