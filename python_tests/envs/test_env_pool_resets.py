"""Resets prepared in advance: they may change how long a reset takes, never what it gives."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("ibrl_fast.envs.env_pool")

from ibrl_fast.envs import make_pool

TASKS = (
    "box-close", "disassemble", "door-lock", "door-unlock", "handle-press", "handle-press-side",
    "handle-pull", "handle-pull-side", "lever-pull", "peg-unplug-side",
)  # fmt: skip
"""Tasks whose scenes have to settle anew for each draw."""


def make(settle_ahead: bool | None, *, task: str = TASKS[0], **options):
    defaults = {"num_envs": 3, "num_threads": 2, "seed": 5, "max_episode_steps": 6}
    return make_pool(task, backend="native", settle_ahead=settle_ahead, **{**defaults, **options})


def draw_actions(steps: int, num_envs: int = 3) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (steps, num_envs, 4)).astype(np.float32)


def assert_same_state(got: dict, expected: dict) -> None:
    assert set(got) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(got[key], value, err_msg=key)


@pytest.mark.parametrize("idle_seconds", [0.0, 0.003])
@pytest.mark.parametrize("fixed_goals", [False, True])
@pytest.mark.parametrize("autoreset", ["same_step", "next_step", "disabled"])
def test_resets_are_the_same(autoreset: str, fixed_goals: bool, idle_seconds: float) -> None:
    """With time to prepare all of the next episode, some of it, or none."""
    plain = make(False, autoreset=autoreset, fixed_goals=fixed_goals, num_threads=1)
    ahead = make(True, autoreset=autoreset, fixed_goals=fixed_goals)
    np.testing.assert_array_equal(ahead.reset()[0]["state"], plain.reset()[0]["state"])
    for actions in draw_actions(20):
        expected, got = plain.step(actions), ahead.step(actions)
        for index in range(4):
            one, other = (result[index] if index else result[0]["state"] for result in (expected, got))
            np.testing.assert_array_equal(other, one)
        ended = expected[2] | expected[3]
        if autoreset == "disabled" and ended.any():
            for pool in (plain, ahead):
                pool.reset(options={"reset_mask": ended})
        assert_same_state(ahead.get_state(), plain.get_state())
        time.sleep(idle_seconds)
    plain.close(), ahead.close()


@pytest.mark.parametrize("task", TASKS[1:])
def test_resets_are_the_same_for_other_tasks(task: str) -> None:
    plain, ahead = make(False, task=task, num_threads=1), make(True, task=task)
    np.testing.assert_array_equal(ahead.reset()[0]["state"], plain.reset()[0]["state"])
    for actions in draw_actions(13):
        plain.step(actions), ahead.step(actions)
        time.sleep(0.004)
    assert_same_state(ahead.get_state(), plain.get_state())


def test_seeds_states_and_given_draws_overrule_what_was_prepared() -> None:
    plain, ahead = make(False, num_threads=1), make(True)
    actions, results = draw_actions(6), []
    vectors = np.tile([0.0, 0.52, 0.02, 0.03, 0.77, 0.133], (3, 1))
    for pool in (plain, ahead):
        pool.reset()
        start = pool.get_state()
        time.sleep(0.05)
        observations = [pool.reset(seed=9)[0]["state"].copy()]
        time.sleep(0.05)
        observations.append(pool.reset(options={"rand_vec": vectors})[0]["state"].copy())
        time.sleep(0.05)
        pool.set_state(start)
        # long enough for the time limit: the next episodes follow from the state's own generators
        observations += [pool.step(action)[0]["state"].copy() for action in actions]
        observations.append(pool.reset(seed=[1, None, 3])[0]["state"].copy())
        results.append((observations, pool.get_state()))
    for one, other in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_array_equal(other, one)
    assert_same_state(results[1][1], results[0][1])


@pytest.mark.parametrize("num_threads", [2, 4])
def test_send_and_recv_with_prepared_resets(num_threads: int) -> None:
    plain = make(False, num_threads=1)
    ahead = make(True, num_threads=num_threads, batch_size=1)
    plain.reset(), ahead.reset()
    for actions in draw_actions(14):
        expected = plain.step(actions)[0]["state"]
        ahead.send(actions)
        for _ in range(3):
            obs, *_, info = ahead.recv()
            np.testing.assert_array_equal(obs["state"][0], expected[info["env_id"][0]])


def test_a_prepared_reset_takes_no_time_of_the_caller() -> None:
    """Processor time of the calling thread, which neighbours on the machine do not change."""

    def reset_seconds(pool) -> float:
        pool.reset()
        seconds = []
        for _ in range(5):
            time.sleep(0.05)
            start = time.thread_time()
            pool.reset()
            seconds.append(time.thread_time() - start)
        pool.close()
        return float(np.median(seconds))

    plain, ahead = reset_seconds(make(False, num_envs=1)), reset_seconds(make(True, num_envs=1))
    assert ahead < plain / 5


def test_a_repeated_scene_settles_once() -> None:
    """With fixed goals no thread need work ahead."""
    pool = make(False, num_envs=1, num_threads=1, fixed_goals=True)
    first = pool.reset()[0]["state"].copy()
    seconds = []
    for _ in range(5):
        start = time.thread_time()
        np.testing.assert_array_equal(pool.reset()[0]["state"], first)
        seconds.append(time.thread_time() - start)
    assert np.median(seconds) < 0.001, "settling takes 4 ms"


def test_who_settles_ahead() -> None:
    assert make(None).settles_ahead
    assert make(None, num_envs=1).settles_ahead, "beside a single environment, too"
    assert not make(None, num_threads=1).settles_ahead
    assert not make(None, autoreset="disabled").settles_ahead
    with pytest.raises(ValueError, match="settle_ahead: expected num_threads of at least 2 with it, got 1"):
        make(True, num_threads=1)
