"""What can go wrong with the native pool, and that it says so and goes on."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time

import numpy as np
import pytest

pytest.importorskip("ibrl_fast.envs.env_pool")

from ibrl_fast.envs import make_pool


def make_native(**options):
    return make_pool("coffee-push", **{"backend": "native", "num_envs": 3, "num_threads": 2, **options})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_actions_are_refused_before_anything_steps(bad: float) -> None:
    pool = make_native()
    pool.reset()
    pool.step(np.zeros((3, 4)))
    before = pool.get_state()
    actions = np.zeros((3, 4))
    actions[1, 2] = bad
    with pytest.raises(ValueError, match=r"actions: expected finite values.*environment 1"):
        pool.step(actions)
    with pytest.raises(ValueError, match=r"actions: expected \[3, 4\], got \[2, 4\].*environment 2"):
        pool.step(np.zeros((2, 4)))
    for key, value in pool.get_state().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("poison", [1e12, 1e30])
@pytest.mark.parametrize("backend", ["reference", "native"])
def test_diverging_physics_ends_that_episode_alone(backend: str, poison: float) -> None:
    options = {"backend": backend, "num_threads": None}
    pool, healthy = make_native(**options), make_native(**options)
    pool.reset(), healthy.reset()
    for each in (pool, healthy):
        last = each.step(np.zeros((3, 4)))[0]["state"].copy()
    state = pool.get_state()
    nq = 17
    state["physics"][1, 1 + nq : 1 + nq + 6] = poison  # speeds, after time and positions
    pool.set_state(state)

    actions = np.full((3, 4), 0.5)
    obs, reward, terminated, truncated, info = pool.step(actions)
    good = healthy.step(actions)
    np.testing.assert_array_equal(info["diverged"], [False, True, False])
    np.testing.assert_array_equal(truncated, [False, True, False])
    assert not terminated.any() and reward[1] == 0
    np.testing.assert_array_equal(info["final_obs"]["state"][1], last[1])
    np.testing.assert_array_equal(info["final_info"]["diverged"], [False, True, False])
    np.testing.assert_array_equal(obs["state"][[0, 2]], good[0]["state"][[0, 2]])
    assert np.isfinite(obs["state"]).all()

    # the next episode is a sound one
    obs, _, _, truncated, info = pool.step(actions)
    assert not truncated.any() and not info["diverged"].any() and np.isfinite(obs["state"]).all()


def test_an_error_in_a_worker_reaches_the_caller() -> None:
    pool = make_native(num_envs=8)
    pool.reset()
    vectors = np.tile([0.0, 0.55, 0.0, 0.0, 0.74, 0.0], (8, 1))
    vectors[[3, 6], 3:5] = [0.0, 0.56]
    with pytest.raises(RuntimeError, match="environment 3: rand_vec"):
        pool.reset(options={"rand_vec": vectors})
    pool.step(np.zeros((8, 4)))


def test_use_before_reset_and_after_close() -> None:
    pool = make_native()
    with pytest.raises(RuntimeError, match="environment 0 has not been reset"):
        pool.step(np.zeros((3, 4)))
    pool.reset()
    pool.close()
    pool.close()
    for use in (pool.reset, lambda: pool.step(np.zeros((3, 4))), pool.get_state, pool.render_frames):
        with pytest.raises(RuntimeError, match="expected an open pool, got one that was closed"):
            use()
    with pytest.raises(RuntimeError, match="expected an open pool"):
        pool._pool.observe([None], pool._sets[0].batch)


def test_closing_with_steps_in_flight() -> None:
    for _ in range(5):
        pool = make_native(num_envs=6)
        pool.reset()
        pool.send(np.zeros((6, 4)))
        pool.close()


def test_results_outlive_the_pool() -> None:
    pool = make_native()
    pool.reset()
    obs = pool.step(np.zeros((3, 4)))[0]["state"]
    copy = obs.copy()
    pool.close()
    del pool
    gc.collect()
    np.testing.assert_array_equal(obs, copy)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_child_is_told_and_does_no_harm() -> None:
    pool = make_native()
    pool.reset()
    pool.step(np.zeros((3, 4)))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            pool.step(np.zeros((3, 4)))
        except RuntimeError as error:
            code = 0 if "expected the process that made it, got a fork" in str(error) else 2
        pool.close()
        del pool
        os._exit(code)
    deadline = time.monotonic() + 300
    done, status = os.waitpid(child, os.WNOHANG)
    while done == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
        done, status = os.waitpid(child, os.WNOHANG)
    if done == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert done == child and os.waitstatus_to_exitcode(status) == 0
    pool.step(np.zeros((3, 4)))


@pytest.mark.parametrize("call", ["step", "recv"])
def test_ctrl_c_stops_a_loop_and_leaves_a_sound_pool(call: str) -> None:
    # a shell that runs the tests in the background hands on an ignored SIGINT
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    pool = make_native(max_episode_steps=10_000)
    pool.reset()
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    deadline = time.monotonic() + 300
    with pytest.raises(KeyboardInterrupt):
        while time.monotonic() < deadline:
            if call == "step":
                pool.step(np.zeros((3, 4)))
            else:
                pool.send(np.zeros((3, 4)))
                pool.recv()
    timer.join()
    signal.signal(signal.SIGINT, handler)
    if pool._pool.in_flight:
        pool.recv()
    obs, *_ = pool.step(np.zeros((3, 4)))
    assert np.isfinite(obs["state"]).all()


def resident_mib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
@pytest.mark.parametrize(
    "cycles", [20, pytest.param(2000, marks=pytest.mark.slow)], ids=["20 cycles", "2000 cycles"]
)
def test_pools_come_and_go_without_growth(cycles: int) -> None:
    def cycle(count: int) -> None:
        for _ in range(count):
            pool = make_native()
            pool.reset()
            pool.step(np.zeros((3, 4)))
            pool.close()

    cycle(15)
    threads, memory = threading.active_count(), resident_mib()
    cycle(cycles)
    assert resident_mib() - memory < 40
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/task")) < 40
