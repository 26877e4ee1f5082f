"""The reference pool against the published environments, and as a Gymnasium vector environment."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from ibrl_fast.envs import derive_env_seed, list_tasks, make_expert, make_pool, resolve_task
from ibrl_fast.envs.metaworld.tasks import published_name

# These tests are of the reference backend, whatever the default is
make_pool = functools.partial(make_pool, backend="reference")

# The published environments' norms through BLAS differ from one processor to the next
pytestmark = pytest.mark.usefixtures("without_blas")

TASKS = ("assembly", "box-close", "coffee-push", "stick-pull")


def choose_action(kind, expert, state, rng):
    """Expert, random or extreme action, float32 [4]."""
    if kind == "expert":
        return expert(state)
    if kind == "random":
        return rng.uniform(-1, 1, 4).astype(np.float32)
    return rng.choice([-1.0, 1.0], 4).astype(np.float32)


def assert_follows_published(task, published, *, reward, kinds, steps, seed=7):
    """Observation, reward and success of whole episodes and of the resets between are equal, bit for bit."""
    info, expert, rng = resolve_task(task), make_expert(task), np.random.default_rng(0)
    pool = make_pool(task, seed=1, action_repeat=1, max_episode_steps=steps, reward=reward)
    env = published(published_name(info), derive_env_seed(seed, 0))
    # an earlier, messy episode must leave no trace
    pool.reset()
    pool.step(np.ones((1, 4)))
    observations, _ = pool.reset(seed=seed)
    expected, _ = env.reset()
    successes = 0
    for kind in kinds:
        ended = False
        while not ended:
            np.testing.assert_array_equal(observations["state"][0], expected.astype(np.float32))
            action = choose_action(kind, expert, observations["state"][0], rng)
            observations, got, terminated, truncated, facts = pool.step(action[None])
            expected, dense, _, _, published_info = env.step(action)
            final = facts.get("final_obs", observations)
            np.testing.assert_array_equal(final["state"][0], expected.astype(np.float32))
            assert got[0] == np.float32(dense if reward == "dense" else published_info["success"])
            assert facts["success"][0] == bool(published_info["success"]) == terminated[0]
            ended = terminated[0] or truncated[0]
            successes += int(facts["success"][0])
        expected, _ = env.reset()
    return successes


@pytest.mark.parametrize("reward", ["sparse", "dense"])
@pytest.mark.parametrize("task", TASKS)
def test_equals_the_published_environment(task, reward, published):
    kinds = ("expert", "random", "extreme", "expert")
    assert assert_follows_published(task, published, reward=reward, kinds=kinds, steps=150) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("task", [n for n in list_tasks() if n.startswith("metaworld/")][4:])
def test_every_other_task_equals_the_published_environment(task, published):
    for reward in ("sparse", "dense"):
        successes = assert_follows_published(
            task, published, reward=reward, kinds=("expert", "random", "extreme"), steps=400
        )
        assert successes >= 1


@pytest.mark.parametrize("reward", ["sparse", "dense"])
def test_action_repeat_sums_dense_rewards_and_keeps_any_success(reward, published):
    pool = make_pool(
        "coffee-push", reward=reward, action_repeat=3, terminate_on_success=False, max_episode_steps=40
    )
    env, expert = published("coffee-push-v3", derive_env_seed(0, 0)), make_expert("coffee-push")
    observations, _ = pool.reset(seed=0)
    env.reset()
    seen = False
    for _ in range(40):
        action = expert(observations["state"][0])
        observations, got, terminated, truncated, info = pool.step(action[None])
        results = [env.step(action) for _ in range(3)]
        success = any(result[4]["success"] for result in results)
        total = sum(float(result[1]) for result in results)
        assert info["success"][0] == success and not terminated[0]
        assert got[0] == np.float32(total if reward == "dense" else success)
        seen |= success
    assert seen and truncated[0]


def test_repeating_stops_at_a_success_that_ends_the_episode(published):
    # the published environment succeeds at simulation step t; an agent step of 7 must stop right there
    pool = make_pool("coffee-push", action_repeat=7)
    env, expert = published("coffee-push-v3", derive_env_seed(3, 0)), make_expert("coffee-push")
    observations, _ = pool.reset(seed=3)
    state, _ = env.reset()
    terminated, inside = [False], False
    while not terminated[0]:
        action = expert(observations["state"][0])
        observations, reward, terminated, _, info = pool.step(action[None])
        for repeat in range(7):
            state, _, _, _, published_info = env.step(action)
            if published_info["success"]:
                inside = repeat < 6
                break
    assert inside, "pick a seed whose success falls inside the repetition"
    np.testing.assert_array_equal(info["final_obs"]["state"][0], state.astype(np.float32))
    assert reward[0] == 1.0


def test_is_a_gymnasium_vector_environment():
    pool = make_pool("assembly", num_envs=3)
    assert isinstance(pool, VectorEnv) and pool.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert pool.single_observation_space["state"].shape == (39,)
    assert isinstance(pool.observation_space, gym.spaces.Dict)
    observations, info = pool.reset(seed=0)
    assert pool.observation_space.contains(observations) and info == {}
    pool.action_space.seed(0)
    observations, reward, terminated, truncated, info = pool.step(pool.action_space.sample())
    assert pool.observation_space.contains(observations)
    assert (reward.dtype, terminated.dtype, truncated.dtype) == (np.float32, np.bool_, np.bool_)
    assert reward.shape == terminated.shape == truncated.shape == info["success"].shape == (3,)


def test_gymnasiums_vector_wrappers_work():
    pool = DictInfoToList(RecordEpisodeStatistics(make_pool("coffee-push", num_envs=2, max_episode_steps=4)))
    pool.reset(seed=0)
    for _ in range(4):
        *_, infos = pool.step(np.zeros((2, 4), np.float32))
    assert [info["episode"]["l"] for info in infos] == [4, 4]
    assert [info["final_info"]["elapsed_steps"] for info in infos] == [4, 4]


def test_returned_arrays_are_the_callers():
    pool = make_pool("assembly")
    first, _ = pool.reset(seed=0)
    kept = first["state"].copy()
    pool.step(np.ones((1, 4)))
    np.testing.assert_array_equal(first["state"], kept)


def rollout(pool, steps=60, seed=None):
    """All observations and rewards of random actions."""
    rng = np.random.default_rng(0)
    observations, _ = pool.reset(seed=seed)
    states, rewards = [observations["state"]], []
    for _ in range(steps):
        actions = rng.uniform(-1, 1, (pool.num_envs, 4))
        observations, reward, *_ = pool.step(actions)
        states.append(observations["state"])
        rewards.append(reward)
    return np.stack(states), np.stack(rewards)


def test_same_seed_repeats_and_others_differ():
    make = lambda seed: make_pool("box-close", num_envs=2, seed=seed, max_episode_steps=20)  # noqa: E731
    states, _ = rollout(make(4))
    again, _ = rollout(make(4))
    np.testing.assert_array_equal(states, again)
    # the first reset uses the pool's seed; an explicit seed is the same thing
    explicit, _ = rollout(make(99), seed=4)
    np.testing.assert_array_equal(states, explicit)
    other, _ = rollout(make(5))
    starts = np.concatenate([states[[0, 20, 40, 60]].reshape(-1, 39), other[[0, 20, 40, 60]].reshape(-1, 39)])
    # goals of different environments, episodes and seeds all differ
    assert len(np.unique(starts[:, -3:-1], axis=0)) == len(starts) == 16


def test_an_environment_does_not_depend_on_its_neighbours():
    alone, many = make_pool("assembly", seed=6), make_pool("assembly", num_envs=3, seed=6)
    one, three = alone.reset()[0]["state"], many.reset()[0]["state"]
    for action in np.random.default_rng(0).uniform(-1, 1, (5, 4)):
        np.testing.assert_array_equal(three[:1], one)
        one = alone.step(action[None])[0]["state"]
        three = many.step(np.stack([action, -action, action]))[0]["state"]


def test_masked_reset_with_seeds_touches_the_masked_rows_alone():
    pool = make_pool("assembly", num_envs=3)
    before, _ = pool.reset(seed=1)
    mask = np.array([False, True, False])
    after, _ = pool.reset(seed=[None, 123, None], options={"reset_mask": mask})
    np.testing.assert_array_equal(after["state"][~mask], before["state"][~mask])
    assert not np.array_equal(after["state"][1], before["state"][1])
    # an episode is a function of its seed, whichever slot runs it and whatever happened there before
    pool.step(np.ones((3, 4)))
    again, _ = pool.reset(seed=[123, None, None], options={"mask": np.array([True, False, False])})
    np.testing.assert_array_equal(again["state"][0], after["state"][1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"options": {"reset_mask": np.array([True])}}, r"reset_mask: expected bool \[2\], got bool \[1\]"),
        ({"options": {"reset_mask": np.array([1, 0])}}, "reset_mask: expected bool"),
        ({"options": {"reset_mask": np.zeros(2, bool)}}, "at least one environment"),
        ({"options": {"goal": 1}}, "options: expected 'reset_mask', got 'goal'"),
        ({"options": {"mask": np.ones(2, bool), "reset_mask": np.ones(2, bool)}}, "got both"),
        ({"seed": [1]}, "seed: expected 2 seeds, got 1"),
        ({"seed": [1, -2]}, "seed: expected an integer of at least 0, got -2"),
        ({"seed": True}, "seed: expected an integer of at least 0, got True"),
    ],
)
def test_bad_resets(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_pool("assembly", num_envs=2).reset(**arguments)


def test_fixed_goals_repeat_the_episode_of_the_seed():
    pool = make_pool("box-close", num_envs=2, seed=2, fixed_goals=True, max_episode_steps=8)
    states, _ = rollout(pool, steps=24)
    goals = states[..., -3:]
    assert (goals == goals[:1]).all() and not np.array_equal(goals[0, 0], goals[0, 1])
    np.testing.assert_array_equal(states[8], states[0])
    np.testing.assert_array_equal(states[16], states[0])
    # another seed, another goal
    assert not np.array_equal(pool.reset(seed=3)[0]["state"][:, -3:], goals[0])


def test_same_step_autoreset_keeps_the_true_successor():
    pool = make_pool("coffee-push", num_envs=2, max_episode_steps=5)
    twin = make_pool("coffee-push", num_envs=2, max_episode_steps=5, autoreset="disabled")
    pool.reset(seed=0)
    twin.reset(seed=0)
    # environment 1 is put one step behind, so that one row alone ends
    one = np.array([False, True])
    for each in (pool, twin):
        each.step(np.ones((2, 4)))
        each.reset(seed=[None, 8], options={"reset_mask": one})
    for _ in range(4):
        observations, _, terminated, truncated, info = pool.step(np.full((2, 4), 0.5))
        expected, *_ = twin.step(np.full((2, 4), 0.5))
    assert truncated.tolist() == [True, False] and not terminated.any()
    np.testing.assert_array_equal(info["final_obs"]["state"], expected["state"])
    np.testing.assert_array_equal(observations["state"][1], expected["state"][1])
    assert not np.array_equal(observations["state"][0], expected["state"][0])
    assert info["_final_obs"].tolist() == info["_final_info"].tolist() == [True, False]
    assert info["final_info"]["elapsed_steps"].tolist() == [5, 0]
    assert info["final_info"]["episode_return"].tolist() == [0.0, 0.0]


def test_next_step_autoreset_resets_a_step_later():
    pool = make_pool("assembly", max_episode_steps=2, autoreset="next_step")
    assert pool.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    twin = make_pool("assembly", max_episode_steps=2)
    pool.reset(seed=0)
    twin.reset(seed=0)
    for _ in range(2):
        observations, _, _, truncated, info = pool.step(np.ones((1, 4)))
        following, _, _, _, twin_info = twin.step(np.ones((1, 4)))
    assert truncated[0] and "final_obs" not in info
    np.testing.assert_array_equal(observations["state"], twin_info["final_obs"]["state"])
    observations, reward, terminated, truncated, _ = pool.step(np.ones((1, 4)))
    np.testing.assert_array_equal(observations["state"], following["state"])
    assert not truncated[0] and not terminated[0] and reward[0] == 0


def test_without_autoreset_an_ended_environment_must_be_reset():
    pool = make_pool("assembly", num_envs=2, max_episode_steps=1, autoreset="disabled")
    with pytest.raises(RuntimeError, match=r"expected reset\(\) before use, environment 0"):
        pool.step(np.zeros((2, 4)))
    pool.reset(seed=0)
    pool.step(np.zeros((2, 4)))
    pool.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(RuntimeError, match="environment 1 has ended"):
        pool.step(np.zeros((2, 4)))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.array([[0, 0, 0, 0], [0, np.nan, 0, 0]]), "got .*nan.* for environment 1"),
        (np.array([[np.inf, 0, 0, 0], [0, 0, 0, 0]]), "got .*inf.* for environment 0"),
        (np.zeros((1, 4)), r"actions: expected \[2, 4\], got \[1, 4\] \(no action for environment 1\)"),
        (np.zeros((3, 4)), r"actions: expected \[2, 4\], got \[3, 4\] \(no environment 2\)"),
        (np.zeros((2, 3)), r"actions: expected \[2, 4\], got \[2, 3\]"),
        (np.zeros(4), r"actions: expected \[2, 4\], got \[4\]"),
        (np.full((2, 4), "a"), "actions: expected numbers"),
    ],
)
def test_bad_actions_name_the_environment_and_step_nothing(actions, message):
    pool = make_pool("assembly", num_envs=2)
    pool.reset(seed=0)
    before = pool.get_state()
    with pytest.raises(ValueError, match=message):
        pool.step(actions)
    for key, value in pool.get_state().items():
        np.testing.assert_array_equal(value, before[key])


def test_actions_beyond_the_range_are_clipped():
    one, other = make_pool("coffee-push", reward="dense"), make_pool("coffee-push", reward="dense")
    one.reset(seed=0)
    other.reset(seed=0)
    for _ in range(5):
        got = one.step(np.array([[3.0, -2.0, 0.5, 9.0]]))
        expected = other.step(np.array([[1.0, -1.0, 0.5, 1.0]]))
        np.testing.assert_array_equal(got[0]["state"], expected[0]["state"])
        assert got[1] == expected[1]


def test_diverging_physics_truncates_that_environment_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings to a file in the working directory
    pool = make_pool("assembly", num_envs=2, autoreset="same_step")
    before, _ = pool.reset(seed=0)
    pool._episodes[1].env.data.qvel[:] = np.nan
    observations, reward, terminated, truncated, info = pool.step(np.zeros((2, 4)))
    assert info["diverged"].tolist() == truncated.tolist() == [False, True]
    assert not terminated.any() and not reward.any()
    # the last good state stands in for the final one, and the next episode is sound
    np.testing.assert_array_equal(info["final_obs"]["state"][1], before["state"][1])
    assert np.isfinite(observations["state"]).all()
    *_, truncated, info = pool.step(np.zeros((2, 4)))
    assert not info["diverged"].any() and not truncated.any()


def test_close_twice_and_use_after_close():
    pool = make_pool("assembly")
    pool.reset(seed=0)
    pool.close()
    pool.close()
    for use in (pool.reset, pool.get_state, lambda: pool.step(np.zeros((1, 4)))):
        with pytest.raises(RuntimeError, match="expected an open pool"):
            use()
