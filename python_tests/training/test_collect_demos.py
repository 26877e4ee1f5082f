"""Demonstrations: replayable from their seeds, independent of the number of environments, checked options."""

import numpy as np
import pytest

from ibrl_fast.data.demonstrations import read_demonstrations, write_demonstrations
from ibrl_fast.envs import derive_env_seed, make_pool
from ibrl_fast.training.collect_demos import collect_demonstrations


def test_replaying_seed_and_actions_gives_the_same_episode():
    result = collect_demonstrations("box-close", 2, seed=3, action_noise=0.1)
    pool = make_pool("box-close", autoreset="disabled")
    for demo in result.demos:
        observations, _ = pool.reset(seed=[demo.seed])
        for step, action in enumerate(demo.actions):
            np.testing.assert_array_equal(observations["state"][0], demo.observations["state"][step])
            observations, reward, terminated, truncated, _ = pool.step(action[None])
            assert reward[0] == demo.rewards[step]
            assert (terminated[0], truncated[0]) == (demo.terminated[step], demo.truncated[step])
        np.testing.assert_array_equal(observations["state"][0], demo.observations["state"][-1])
        assert demo.terminated[-1] and demo.rewards[-1] == 1 and demo.rewards[:-1].sum() == 0
        assert demo.actions.dtype == np.float32 and np.abs(demo.actions).max() <= 1


def test_keeps_the_first_successes_whatever_runs_in_parallel():
    calls = []
    # with this much noise some attempts fail
    options = {"seed": 0, "action_noise": 0.6, "max_episode_steps": 80}
    one = collect_demonstrations("stick-pull", 2, progress=lambda *call: calls.append(call), **options)
    three = collect_demonstrations("stick-pull", 2, num_envs=3, **options)
    for demo, other in zip(one.demos, three.demos, strict=True):
        assert demo.seed == other.seed
        np.testing.assert_array_equal(demo.actions, other.actions)
        np.testing.assert_array_equal(demo.observations["state"], other.observations["state"])
    assert calls[-1][0] == 2 and calls[-1][1] == len(calls) > 2, "choose a seed with failures"
    attempts = [derive_env_seed(0, index) for index in range(len(calls))]
    assert one.demos[1].seed == attempts[-1]

    # failures are kept on request
    everything = collect_demonstrations("stick-pull", len(calls), success_only=False, **options)
    assert [demo.seed for demo in everything.demos] == attempts
    assert sum(demo.success for demo in everything.demos) == 2
    assert all(demo.truncated[-1] != demo.terminated[-1] for demo in everything.demos)


def test_noise_differs_between_attempts_and_seeds():
    plain = collect_demonstrations("coffee-push", 1, seed=1).demos[0]
    noisy = collect_demonstrations("coffee-push", 2, seed=1, action_noise=0.2).demos
    assert plain.seed == noisy[0].seed
    first = [noisy[0].actions[0] - plain.actions[0], noisy[1].actions[0]]
    assert np.abs(first[0]).max() > 0.01 and not np.array_equal(noisy[0].actions[:5], noisy[1].actions[:5])


@pytest.mark.parametrize(
    ("observation", "keys"), [("state", {"state"}), ("pixels", {"corner2"}), ("both", {"state", "corner2"})]
)
def test_survives_the_file(tmp_path, observation, keys):
    result = collect_demonstrations("coffee-push", 1, observation=observation, image_size=24)
    demo = result.demos[0]
    assert set(demo.observations) == keys
    for key, value in demo.observations.items():
        assert value.shape == (len(demo) + 1, *((39,) if key == "state" else (3, 24, 24)))
    write_demonstrations(tmp_path / "demos.hdf5", result)
    again = read_demonstrations(tmp_path / "demos.hdf5")
    assert again.env_args["env_name"] == "metaworld/coffee-push"
    assert again.env_args["env_kwargs"]["action_repeat"] == 2
    assert again.demos[0].seed == demo.seed
    for key in keys:
        np.testing.assert_array_equal(again.demos[0].observations[key], demo.observations[key])
    np.testing.assert_array_equal(again.demos[0].actions, demo.actions)


def test_bad_input():
    for options, message in (
        ({"episodes": 0}, "episodes: expected an integer of at least 1, got 0"),
        ({"episodes": 1, "action_noise": -0.1}, "action_noise: expected a finite number of at least 0"),
        ({"episodes": 3, "max_attempts": 2}, "max_attempts: expected at least episodes=3, got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            collect_demonstrations("assembly", **options)
    with pytest.raises(ValueError, match="unknown name"):
        collect_demonstrations("nothing", 1)


def test_too_few_successes_say_so():
    with pytest.raises(RuntimeError, match="metaworld/assembly: expected 1 successes in 2 episodes, got 0"):
        collect_demonstrations("assembly", 1, max_episode_steps=3, max_attempts=2)


def test_both_backends_give_the_same_demonstrations():
    pytest.importorskip("ibrl_fast.envs.env_pool", reason="built without the native pool")
    options = {"seed": 5, "action_noise": 0.1, "observation": "both", "image_size": 24}
    reference = collect_demonstrations("coffee-push", 2, **options)
    native = collect_demonstrations("coffee-push", 2, backend="native", num_envs=2, **options)
    for demo, other in zip(reference.demos, native.demos, strict=True):
        assert demo.seed == other.seed
        np.testing.assert_array_equal(demo.actions, other.actions)
        for key, value in demo.observations.items():
            np.testing.assert_array_equal(other.observations[key], value)
