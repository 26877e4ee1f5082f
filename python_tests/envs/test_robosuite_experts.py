"""The scripted experts of robosuite's tasks."""

import numpy as np
import pytest
from robosuite_helpers import need_robosuite

from ibrl_fast.envs import derive_env_seed, make_expert, make_pool, wilson_interval
from ibrl_fast.envs.rollout import run_episodes

LIMITS = {"lift": 100, "can": 200, "square": 300}


def succeed(task, episodes):
    """Success of each episode, every one with an expert of its own."""
    pool = make_pool(task, backend="reference", action_repeat=1, max_episode_steps=LIMITS[task])
    experts, successes = {}, np.zeros(episodes, bool)

    def act(observations, running, started):
        episode = int(running[0])
        if started[0]:
            experts[episode] = make_expert(task, derive_env_seed(5, episode))
        return experts[episode](observations["state"][0])[None]

    def on_step(step):
        successes[step.episode] |= step.success

    run_episodes(pool, range(episodes), act, on_step)
    return successes


@pytest.mark.parametrize("task", LIMITS)
def test_an_expert_follows_its_seed_alone(task):
    states = np.random.default_rng(0).uniform(0.0, 1.0, (20, 19 if task == "lift" else 23))
    states[:, 3:7] = (1.0, 0.0, 0.0, 0.0)
    experts = [make_expert(task, seed) for seed in (1, 1, 2)]
    actions = [np.stack([expert(state) for state in states]) for expert in experts]
    np.testing.assert_array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[0], actions[2])
    assert actions[0].dtype == np.float32 and np.abs(actions[0]).max() <= 1
    with pytest.raises(ValueError, match=r"state: expected \["):
        make_expert(task)(np.zeros(3))


def test_lift_is_solved():
    need_robosuite()
    assert succeed("lift", 3).all()


@pytest.mark.slow
@pytest.mark.parametrize(("task", "rate"), [("lift", 1.0), ("can", 0.94), ("square", 0.96)])
def test_success_over_50_episodes(task, rate):
    need_robosuite()
    successes = succeed(task, 50)
    low, high = wilson_interval(int(successes.sum()), len(successes))
    print(f"{task}: {successes.mean():.2f} [{low:.2f}, {high:.2f}]")
    assert low <= rate <= high and successes.mean() > 0.8
