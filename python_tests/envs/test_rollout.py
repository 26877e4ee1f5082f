"""Evaluation: one seed per episode, whatever the number of environments."""

import functools

import numpy as np
import pytest

from ibrl_fast.envs import (
    derive_env_seed,
    episode_seeds,
    evaluate_policy,
    make_expert,
    make_pool,
    wilson_interval,
)

# These tests are of the reference backend, whatever the default is
make_pool = functools.partial(make_pool, backend="reference")


def expert_policy(task):
    expert = make_expert(task)
    return lambda observations: np.stack([expert(state) for state in observations["state"]])


def test_equals_episodes_played_by_hand(published):
    seeds = episode_seeds(11, 4)
    assert episode_seeds(11, 9)[:4] == seeds
    assert seeds == [derive_env_seed(11, index) for index in range(4)]
    expert = make_expert("box-close")
    successes, lengths = [], []
    for seed in seeds:
        env = published("box-close-v3", seed)
        state, _ = env.reset()
        success, length = False, 0
        while not success and length < 70:
            action = expert(state.astype(np.float32))
            for _ in range(2):
                state, _, _, _, info = env.step(action)
                if info["success"]:
                    success = True
                    break
            length += 1
        successes.append(success)
        lengths.append(length)
    assert len(set(lengths)) > 1
    pool = make_pool("box-close", max_episode_steps=70)
    result = evaluate_policy(pool, expert_policy("box-close"), seeds)
    assert (list(result.successes), list(result.lengths)) == (successes, lengths)
    assert result.returns == tuple(float(success) for success in successes)
    assert result.success_rate == np.mean(successes)


@pytest.mark.parametrize("autoreset", ["same_step", "next_step", "disabled"])
@pytest.mark.parametrize("num_envs", [2, 7])
def test_result_depends_on_neither_the_number_of_environments_nor_autoreset(num_envs, autoreset):
    make = lambda n, mode: make_pool("coffee-push", num_envs=n, autoreset=mode, max_episode_steps=28)  # noqa: E731
    seeds = episode_seeds(1, 5)
    one = evaluate_policy(make(1, "same_step"), expert_policy("coffee-push"), seeds)
    many = evaluate_policy(make(num_envs, autoreset), expert_policy("coffee-push"), seeds)
    assert one == many and sum(one.successes) > 0 and len(set(one.lengths)) > 1


def test_stacks_start_anew_with_every_episode():
    seeds, seen = episode_seeds(0, 3), []

    def policy(observations):
        seen.append(observations["state"].reshape(2, 3, 39))
        return np.ones((2, 4))

    evaluate_policy(
        make_pool("assembly", num_envs=2, max_episode_steps=4), policy, seeds, stacks={"state": 3}
    )
    for step, stack in enumerate(seen):
        age = step % 4
        np.testing.assert_array_equal(stack[:, 1], seen[step - 1][:, 0] if age else stack[:, 0])
        if age == 1:
            np.testing.assert_array_equal(stack[:, 2], stack[:, 1])


def test_the_policy_learns_which_rows_count():
    active = []
    result = evaluate_policy(
        make_pool("assembly", num_envs=2, max_episode_steps=3),
        lambda observations: np.zeros((2, 4)),
        episode_seeds(0, 3),
        on_action=active.append,
    )
    assert sum(rows.sum() for rows in active) == sum(result.lengths) == 9
    assert [rows.tolist() for rows in active[3:]] == [[True, False]] * 3


def test_films_the_first_episodes_with_their_last_picture():
    pool = make_pool("coffee-push", num_envs=2, autoreset="disabled", max_episode_steps=6)
    result = evaluate_policy(
        pool,
        lambda o: np.ones((2, 4)),
        episode_seeds(0, 3),
        video_episodes=2,
        video_size=32,
        video_camera="corner",
    )
    assert [film.shape for film in result.frames] == [(7, 32, 32, 3)] * 2
    assert not np.array_equal(result.frames[0][0], result.frames[0][-1])
    assert not np.array_equal(result.frames[0][0], result.frames[1][0])


def test_a_pool_made_here_is_closed_also_after_an_error():
    made = []

    def factory():
        made.append(make_pool("assembly", max_episode_steps=2))
        return made[-1]

    evaluate_policy(factory, lambda o: np.zeros((1, 4)), [1])
    with pytest.raises(ValueError, match="for environment 0"):
        evaluate_policy(factory, lambda o: np.full((1, 4), np.nan), [1])
    assert [pool.closed for pool in made] == [True, True]
    with pytest.raises(ValueError, match="seeds: expected at least one"):
        evaluate_policy(factory, lambda o: np.zeros((1, 4)), [])


def test_wilson_interval():
    # closed form solved independently: the interval's ends are where |share - p| = z sqrt(p (1 - p) / n)
    for successes, episodes in ((0, 50), (7, 20), (50, 50), (48, 50)):
        low, high = wilson_interval(successes, episodes)
        grid = np.linspace(0, 1, 2_000_001)
        inside = (
            np.abs(successes / episodes - grid) <= 1.959964 * np.sqrt(grid * (1 - grid) / episodes) + 1e-12
        )
        np.testing.assert_allclose([low, high], [grid[inside].min(), grid[inside].max()], atol=2e-6)
    for successes, episodes in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="successes: expected"):
            wilson_interval(successes, episodes)


@pytest.mark.parametrize("task", ["assembly", "box-close", "coffee-push", "stick-pull"])
def test_result_depends_on_no_backend(task):
    pytest.importorskip("ibrl_fast.envs.env_pool", reason="built without the native pool")
    seeds = episode_seeds(0, 4)
    reference = evaluate_policy(make_pool(task), expert_policy(task), seeds)
    native = evaluate_policy(make_pool(task, num_envs=3, backend="native"), expert_policy(task), seeds)
    assert native == reference
