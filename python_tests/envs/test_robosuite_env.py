"""The reference backend against robosuite's own environments, and states that continue bit for bit."""

import functools

import numpy as np
import pytest
from robosuite_helpers import TASKS, join_state, make_plain, need_robosuite, reset_plain

from ibrl_fast.envs import make_pool
from ibrl_fast.envs.experts import make_expert
from ibrl_fast.envs.rendering import RenderingUnavailableError

need_robosuite()

# These tests are of the reference backend, whatever the default is
make_pool = functools.partial(make_pool, backend="reference", action_repeat=1)


def drive(task, seed):
    """Actions of an expert, then random ones: motion, contact, and what nobody would do."""
    expert, random = make_expert(task, seed), np.random.default_rng(seed)

    def act(step, state):
        return expert(state) if step < 40 else random.uniform(-1.2, 1.2, 7).astype(np.float32)

    return act


@pytest.mark.parametrize("task", TASKS)
def test_an_episode_is_robosuites(task):
    # a hard reset compiles the model again, as Lift's cube needs; it leaves another warm start of the solver
    # where bodies touch, which is so for the objects that Can puts aside
    pool = make_pool(task, max_episode_steps=100, terminate_on_success=False)
    env = make_plain(task, seed=7, hard_reset=task != "can")
    observed, _ = pool.reset(seed=[7])
    expected = reset_plain(env)
    state, act = pool._episodes[0].vectors["state"], drive(task, 7)
    np.testing.assert_array_equal(state, join_state(expected))
    for step in range(60):
        action = act(step, observed["state"][0])
        observed, reward, *_, info = pool.step(action[None])
        expected, expected_reward, _, _ = env.step(np.clip(action, -1, 1).astype(np.float64))
        state = pool._episodes[0].vectors["state"]
        np.testing.assert_array_equal(state, join_state(expected))
        np.testing.assert_array_equal(observed["state"][0], state.astype(np.float32))
        assert bool(info["success"][0]) == bool(env._check_success()) == (expected_reward > 0)
        assert reward[0] == float(info["success"][0])


def test_a_hard_reset_is_the_same_start():
    pool, env = make_pool("can"), make_plain("can", seed=7, hard_reset=True)
    pool.reset(seed=[7])
    expected = join_state(reset_plain(env))
    np.testing.assert_array_equal(pool._episodes[0].vectors["state"], expected)


def test_dense_rewards_are_robosuites():
    pool = make_pool("can", max_episode_steps=100, reward="dense")
    env = make_plain("can", seed=7, reward_shaping=True)
    pool.reset(seed=[7])
    reset_plain(env)
    for action in np.random.default_rng(0).uniform(-1, 1, (5, 7)).astype(np.float32):
        reward = pool.step(action[None])[1]
        np.testing.assert_allclose(reward[0], env.step(action.astype(np.float64))[1], rtol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_an_episode_is_a_function_of_its_seed(task):
    pool = make_pool(task, num_envs=2, max_episode_steps=100)
    first, _ = pool.reset(seed=[3, 4])
    pool.step(np.ones((2, 7), np.float32))
    pool.reset()
    again, _ = pool.reset(seed=[4, 3])
    np.testing.assert_array_equal(first["state"], again["state"][::-1])
    assert not np.array_equal(first["state"][0], first["state"][1])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("steps", [0, 13])
def test_a_restored_pool_continues_bit_for_bit(task, steps):
    def play(pool, count, seed):
        """Observations and states of random actions."""
        record, random = [], np.random.default_rng(seed)
        for _ in range(count):
            observed = pool.step(random.uniform(-1, 1, (1, 7)))[0]
            record.append(np.concatenate([observed["state"][0], pool.get_state()["physics"][0]]))
        return np.stack(record)

    # over an episode's end, in the same pool and in another
    pool, other = (make_pool(task, max_episode_steps=20) for _ in range(2))
    pool.reset(seed=5)
    if steps:
        play(pool, steps, seed=0)
    state = pool.get_state()
    expected = play(pool, 25, seed=1)
    other.reset(seed=6)
    for restored in (pool, other):
        observed = restored.set_state(state)
        np.testing.assert_array_equal(observed["state"], state["observation"].astype(np.float32))
        np.testing.assert_array_equal(play(restored, 25, seed=1), expected)


@pytest.mark.parametrize("task", TASKS)
def test_pictures_are_robosuites(task):
    cameras = ("agentview", "robot0_eye_in_hand")
    try:
        pool = make_pool(task, observation="both", cameras=cameras, image_size=48, shadows=True)
    except RenderingUnavailableError as error:
        pytest.skip(f"no rendering here: {error}")
    pool.reset(seed=[3])
    actions = np.random.default_rng(1).uniform(-1, 1, (3, 7)).astype(np.float32)
    for action in actions:
        observed = pool.step(action[None])[0]

    options = {"camera_names": list(cameras), "camera_heights": 48, "camera_widths": 48}
    env = make_plain(task, seed=3, has_offscreen_renderer=True, use_camera_obs=True, **options)
    reset_plain(env)
    for action in actions:
        expected, *_ = env.step(action.astype(np.float64))
    for camera in cameras:
        picture = observed[camera][0].transpose(1, 2, 0)
        # OpenGL's rows run bottom-up there; robomimic turns them, too
        np.testing.assert_array_equal(picture, expected[f"{camera}_image"][::-1], err_msg=camera)
        assert picture.std() > 10
    env.close()


def test_a_restored_pool_draws_the_same_picture():
    try:
        pool = make_pool("lift", observation="both", image_size=32)
    except RenderingUnavailableError as error:
        pytest.skip(f"no rendering here: {error}")
    pool.reset(seed=1)
    for action in np.random.default_rng(0).uniform(-1, 1, (3, 1, 7)):
        observed = pool.step(action)[0]
    state = pool.get_state()
    pool.reset()
    restored = pool.set_state(state)
    for key, value in observed.items():
        np.testing.assert_array_equal(restored[key], value, err_msg=key)


def test_an_unstable_step_ends_the_episode():
    pool = make_pool("lift", autoreset="disabled")
    observed, _ = pool.reset(seed=1)
    state = pool.get_state()
    facts = pool._episodes[0].env._facts
    state["physics"][0, 1 + facts["sizes"]["nq"]] = 1e12
    pool.set_state(state)
    after, reward, terminated, truncated, info = pool.step(np.zeros((1, 7), np.float32))
    assert truncated[0] and info["diverged"][0] and not terminated[0] and reward[0] == 0
    np.testing.assert_array_equal(after["state"], observed["state"])
