"""The native pool's own behaviour: threads, send and recv, memory, seeds, Gymnasium's face."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ibrl_fast.envs.env_pool")

from gymnasium.wrappers.vector import RecordEpisodeStatistics

from ibrl_fast.envs import make_pool, resolve_task
from ibrl_fast.envs.env_pool import NativePool
from ibrl_fast.envs.options import PoolOptions


def make_native(task: str = "assembly", *, num_envs: int = 4, num_threads: int = 2, **options) -> NativePool:
    native = {key: options.pop(key) for key in ("batch_size", "channels_last") if key in options}
    pool_options = PoolOptions(num_envs=num_envs, num_threads=num_threads, max_episode_steps=8, **options)
    return NativePool(resolve_task(task), pool_options, **native)


def draw_actions(steps: int, num_envs: int = 4) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, num_envs, 4)).astype(np.float32)


@pytest.mark.parametrize("task", ["box-close", "coffee-push"])
def test_results_do_not_depend_on_the_number_of_threads(task: str) -> None:
    runs = []
    for num_threads in (1, 2, 4):
        pool = make_native(task, num_threads=num_threads, seed=1)
        assert pool.num_threads == num_threads
        rows = [pool.reset()[0]["state"].copy()]
        for actions in draw_actions(12):
            obs, reward, _, truncated, _ = pool.step(actions)
            rows.append(np.column_stack([obs["state"], reward, truncated]))
        runs.append((rows, pool.get_state()))
        pool.close()
    for rows, state in runs[1:]:
        for got, expected in zip(rows, runs[0][0], strict=True):
            np.testing.assert_array_equal(got, expected)
        for key, value in runs[0][1].items():
            np.testing.assert_array_equal(state[key], value)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_send_and_recv_give_the_steps_of_every_environment(num_threads: int, batch_size: int) -> None:
    """Each environment gets its own actions however results come out; compared with synchronous steps."""
    rounds, enough = 40, 10
    actions = draw_actions(rounds)
    expected = make_native(seed=3)
    expected.reset()
    trajectory = []
    for action in actions:
        obs, _, _, truncated, info = expected.step(action)
        final = info["final_obs"]["state"].copy() if "final_obs" in info else None
        trajectory.append((obs["state"].copy(), truncated.copy(), final))

    # whoever has finished goes on at once, until every environment has taken enough steps
    pool = make_native(seed=3, num_threads=num_threads, batch_size=batch_size)
    pool.reset()
    pool.send(actions[0])
    taken = np.zeros(4, dtype=int)
    while taken.min() < enough and taken.max() < rounds - 1:
        obs, _, _, truncated, info = pool.recv()
        ids = info["env_id"]
        assert len(set(ids)) == batch_size
        for row, env in enumerate(ids):
            state, ended, final = trajectory[taken[env]]
            np.testing.assert_array_equal(obs["state"][row], state[env])
            assert truncated[row] == ended[env]
            if ended[env]:
                np.testing.assert_array_equal(info["final_obs"]["state"][row], final[env])
        taken[ids] += 1
        pool.send(actions[taken[ids], ids], ids)
    assert taken.min() >= 2

    # nothing is lost at the end
    for _ in range(4 // batch_size):
        taken[pool.recv()[4]["env_id"]] += 1
    np.testing.assert_array_equal(pool.get_state()["elapsed_steps"], taken % 8)


def test_send_and_recv_reject_misuse() -> None:
    pool = make_native(batch_size=2)
    with pytest.raises(RuntimeError, match="environment 0 has not been reset"):
        pool.send(np.zeros((4, 4)))
    pool.reset()
    with pytest.raises(RuntimeError, match=r"recv: expected send\(\) before"):
        pool.recv()
    pool.send(np.zeros((2, 4)), [1, 3])
    with pytest.raises(RuntimeError, match="environment 3 is still in flight"):
        pool.send(np.zeros((2, 4)), [0, 3])
    with pytest.raises(RuntimeError, match=r"step: expected recv\(\) of everything sent before, 2"):
        pool.step(np.zeros((4, 4)))
    with pytest.raises(RuntimeError, match="get_state: expected recv"):
        pool.get_state()
    assert sorted(pool.recv()[4]["env_id"]) == [1, 3]
    with pytest.raises(RuntimeError, match="recv: expected at most the 0 environments in flight"):
        pool.recv()
    for ids in ([0, 0], [4], [-1]):
        with pytest.raises(ValueError, match="env_ids"):
            pool.send(np.zeros((len(ids), 4)), ids)
    with pytest.raises(ValueError, match="environment 3"):
        pool.send(np.array([[0, 0, 0, 0], [0, np.nan, 0, 0]]), [0, 3])
    with pytest.raises(ValueError, match=r"actions: expected \[1, 4\], got \[2, 4\]"):
        pool.send(np.zeros((2, 4)), [0])
    pool.step(np.zeros((4, 4)))


def test_results_are_views_that_outlive_one_more_step() -> None:
    pool = make_native()
    pool.reset()
    results = [pool.step(actions) for actions in draw_actions(2)]
    first = {key: value.copy() for key, value in results[0][0].items()}
    addresses = [result[0]["state"].ctypes.data for result in results]
    np.testing.assert_array_equal(results[0][0]["state"], first["state"])
    third = pool.step(draw_actions(1)[0])
    assert addresses[0] != addresses[1]
    assert third[0]["state"].ctypes.data == addresses[0], "no allocation per step"


def test_seeds_decide_episodes() -> None:
    pool = make_native(seed=1)
    first, second = pool.reset()[0]["state"].copy(), pool.reset()[0]["state"].copy()
    assert len(np.unique(np.concatenate([first, second])[:, -3:], axis=0)) == 8, (
        "resets and environments differ"
    )
    again = make_native(seed=1)
    np.testing.assert_array_equal(again.reset()[0]["state"], first)
    pool.step(draw_actions(1)[0])
    np.testing.assert_array_equal(pool.reset(seed=1)[0]["state"], first)
    rows = pool.reset(seed=[5, None, 5, 6])[0]["state"]
    np.testing.assert_array_equal(rows[0], rows[2])
    assert not np.array_equal(rows[0], rows[3])


def test_a_masked_reset_leaves_the_others() -> None:
    pool = make_native()
    pool.reset()
    before = pool.step(draw_actions(1)[0])[0]["state"].copy()
    states = pool.get_state()
    after = pool.reset(options={"reset_mask": np.array([False, True, False, False])})[0]["state"]
    np.testing.assert_array_equal(after[[0, 2, 3]], before[[0, 2, 3]])
    assert not np.array_equal(after[1], before[1])
    np.testing.assert_array_equal(pool.get_state()["elapsed_steps"], [1, 0, 1, 1])
    np.testing.assert_array_equal(pool.get_state()["physics"][0], states["physics"][0])


def test_rand_vec_is_checked() -> None:
    pool = make_native()
    with pytest.raises(ValueError, match=r"rand_vec: expected finite values \[4, 6\], got \[4, 5\]"):
        pool.reset(options={"rand_vec": np.zeros((4, 5))})
    vectors = np.tile([0.0, 0.6, 0.02, 0.0, 0.8, 0.1], (4, 1))
    vectors[2, 3:5] = [0.0, 0.6]
    with pytest.raises(RuntimeError, match="environment 2: rand_vec: start and goal are closer"):
        pool.reset(options={"rand_vec": vectors})


def test_gymnasium_wrappers_and_spaces_fit() -> None:
    pool = RecordEpisodeStatistics(make_native())
    obs, _ = pool.reset(seed=0)
    assert pool.observation_space.contains(obs)
    lengths = []
    for _ in range(20):
        obs, reward, terminated, truncated, info = pool.step(pool.action_space.sample())
        assert pool.observation_space.contains(obs)
        assert reward.dtype == np.float32 and terminated.dtype == truncated.dtype == np.bool_
        if "episode" in info:
            lengths.extend(info["episode"]["l"][info["_episode"]])
    assert set(lengths) == {8}
    pool.close()


def test_options_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"batch_size: expected 1 \.\. 4, got 5"):
        make_native(batch_size=5)
    with pytest.raises(ValueError, match="cameras: expected names among topview"):
        make_pool("assembly", backend="native", camera_positions={"nowhere": (0, 0, 0)})
    with pytest.raises(ValueError, match="cameras: expected names among topview"):
        make_pool("assembly", backend="native", cameras=("nowhere",))
    monkeypatch.setattr("ibrl_fast.envs.env_pool.list_native_tasks", lambda: ("metaworld/assembly",))
    with pytest.raises(
        ValueError, match="task: expected one of the native backend's metaworld/assembly, got"
    ):
        make_pool("soccer", backend="native")
