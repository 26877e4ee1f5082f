"""A restored pool continues bit for bit, in a fresh pool and in a fresh process, for every task."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ibrl_fast
from ibrl_fast.envs import list_tasks, make_pool

# These tests are of the reference backend, whatever the default is
make_pool = functools.partial(make_pool, backend="reference")

TASKS = ("assembly", "box-close", "coffee-push", "stick-pull")


def play(pool, steps, seed):
    """Observations, rewards and endings of random actions."""
    rng = np.random.default_rng(seed)
    record = []
    for _ in range(steps):
        observations, reward, terminated, truncated, info = pool.step(rng.uniform(-1, 1, (pool.num_envs, 4)))
        final = info.get("final_obs", observations)
        arrays = [*observations.values(), *final.values(), reward, terminated, truncated]
        record.append(np.concatenate([array.reshape(-1).astype(np.float64) for array in arrays]))
    return np.stack(record)


@pytest.mark.parametrize("task", TASKS)
def test_a_restored_pool_continues_over_episodes_and_resets(task):
    options = {"num_envs": 2, "max_episode_steps": 30, "reward": "dense"}
    pool = make_pool(task, seed=1, **options)
    pool.reset()
    play(pool, 47, seed=0)
    state = pool.get_state()
    expected = play(pool, 75, seed=1)

    # a fresh pool of another seed, and the same pool after it went on
    for other in (make_pool(task, seed=9, **options), pool):
        observations = other.set_state(state)
        np.testing.assert_array_equal(observations["state"], state["observation"].astype(np.float32))
        np.testing.assert_array_equal(play(other, 75, seed=1), expected)


def test_a_state_taken_right_after_a_reset_and_with_fixed_goals():
    for options in ({}, {"fixed_goals": True}, {"autoreset": "next_step"}):
        pool = make_pool("box-close", max_episode_steps=5, **options)
        pool.reset(seed=2)
        state = pool.get_state()
        expected = play(pool, 17, seed=1)
        other = make_pool("box-close", max_episode_steps=5, **options)
        other.set_state(state)
        np.testing.assert_array_equal(play(other, 17, seed=1), expected)


def test_the_moment_between_an_end_and_its_reset_is_kept():
    pool = make_pool("assembly", num_envs=2, max_episode_steps=3, autoreset="next_step")
    pool.reset(seed=2)
    play(pool, 3, seed=0)
    state = pool.get_state()
    assert state["needs_reset"].all()
    expected = play(pool, 6, seed=1)
    other = make_pool("assembly", num_envs=2, max_episode_steps=3, autoreset="next_step")
    other.set_state(state)
    np.testing.assert_array_equal(play(other, 6, seed=1), expected)


CONTINUE = """
import sys
import numpy as np
sys.path[:0] = {path!r}
from test_metaworld_state import play
from ibrl_fast.envs import make_pool
pool = make_pool("stick-pull", num_envs=2, max_episode_steps=20, backend="reference")
with np.load(sys.argv[1]) as file:
    pool.set_state(dict(file))
np.save(sys.argv[2], play(pool, 45, seed=1))
"""


def test_a_fresh_process_continues_bit_for_bit(tmp_path):
    pool = make_pool("stick-pull", num_envs=2, max_episode_steps=20, seed=3)
    pool.reset()
    play(pool, 33, seed=0)
    # plain arrays: no pickle is needed to keep them
    np.savez(tmp_path / "state.npz", **pool.get_state())
    expected = play(pool, 45, seed=1)
    script = CONTINUE.format(path=[*sys.path, str(__import__("pathlib").Path(__file__).parent)])
    command = [sys.executable, "-c", script, str(tmp_path / "state.npz"), str(tmp_path / "out.npy")]
    subprocess.run(command, check=True, cwd=Path(ibrl_fast.__file__).parents[1])
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


# what an environment keeps besides its changing state: handles, constants, and the last observation
UNREAD = {"model", "data", "mujoco_renderer", "_ezpickle_args", "_ezpickle_kwargs", "_last_stable_obs"}


def numbers(env):
    """Every numeric attribute of a published environment."""
    found = {}
    for name, value in vars(env).items():
        if name in UNREAD or value is None:
            continue
        try:
            found[name] = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("task", [name for name in list_tasks() if name.startswith("metaworld/")])
def test_every_task_keeps_everything(task):
    options = {"max_episode_steps": 20, "reward": "dense"}
    pool, other = make_pool(task, seed=1, **options), make_pool(task, seed=2, **options)
    pool.reset()
    other.reset()
    play(pool, 27, seed=0)
    state = pool.get_state()
    other.set_state(state)

    # the Python side is the same to the last attribute, and so is the future
    original, restored = numbers(pool._episodes[0].env.published), numbers(other._episodes[0].env.published)
    assert original.keys() == restored.keys()
    for name, value in original.items():
        np.testing.assert_array_equal(restored[name], value, err_msg=name)
    np.testing.assert_array_equal(play(other, 45, seed=1), play(pool, 45, seed=1))


def test_bad_states():
    pool = make_pool("assembly", num_envs=2)
    with pytest.raises(RuntimeError, match=r"expected reset\(\) before use"):
        pool.get_state()
    pool.reset(seed=0)
    state = pool.get_state()
    with pytest.raises(ValueError, match=r"missing \['rng'\], unknown \['random'\]"):
        pool.set_state(
            {**{key: value for key, value in state.items() if key != "rng"}, "random": state["rng"]}
        )
    with pytest.raises(ValueError, match=r"state\['rng'\]: expected \[2, 6\], got \[1, 6\]"):
        pool.set_state({**state, "rng": state["rng"][:1]})
    with pytest.raises(ValueError, match="state"):
        make_pool("stick-pull", num_envs=2).set_state(state)
