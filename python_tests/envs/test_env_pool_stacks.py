"""Stacked observations of both backends against `ObservationStacker` over the same unstacked pool."""

from __future__ import annotations

import numpy as np
import pytest

from ibrl_fast.envs import ObservationStacker, make_pool
from ibrl_fast.envs.rendering import RenderingUnavailableError, check_rendering

N = 3
try:
    import ibrl_fast.envs.env_pool  # noqa: F401

    BACKENDS = ["reference", "native"]
except ImportError:
    BACKENDS = ["reference"]


def make(backend: str, **options):
    threads = {"num_threads": 2} if backend == "native" else {}
    defaults = {"num_envs": N, "seed": 4, "max_episode_steps": 4, **threads}
    return make_pool("coffee-push", backend=backend, **{**defaults, **options})


def pictures() -> dict:
    try:
        check_rendering()
    except RenderingUnavailableError as error:
        pytest.skip(str(error))
    return {"observation": "both", "cameras": ("corner2", "topview"), "image_size": 12}


def draw_actions(steps: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, N, 4)).astype(np.float32)


def assert_equal(got: dict, expected: dict) -> None:
    assert set(got) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(got[key], value, err_msg=key)
        assert got[key].dtype == value.dtype


def copied(observations: dict) -> dict:
    return {key: value.copy() for key, value in observations.items()}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("autoreset", "stacks"),
    [
        ("same_step", 3),
        ("next_step", {"state": 2}),
        ("disabled", 3),
        ("same_step", {"corner2": 3, "topview": 2}),
    ],
)
def test_equals_a_stacker_above_the_pool(backend: str, autoreset: str, stacks) -> None:
    images = pictures() if isinstance(stacks, dict) and "corner2" in stacks else {}
    plain = make("reference", autoreset=autoreset, **images)
    pool = make(backend, autoreset=autoreset, frame_stack=stacks, **images)
    first = plain.reset()[0]
    by_key = stacks if isinstance(stacks, dict) else dict.fromkeys(first, stacks)
    stacker = ObservationStacker(N, by_key)
    assert_equal(pool.reset()[0], stacker.reset(first))
    ended = np.zeros(N, dtype=bool)
    for step, actions in enumerate(draw_actions(11)):
        # environments come apart: their episodes end in different steps
        if step == 2 or (ended.any() and autoreset == "disabled"):
            mask = ended if ended.any() else np.array([False, True, False])
            obs = plain.reset(options={"reset_mask": mask})[0]
            got = pool.reset(options={"reset_mask": mask})[0]
            assert_equal(got, stacker.reset(obs, np.flatnonzero(mask)))
        fresh = ended if autoreset == "next_step" else np.zeros(N, dtype=bool)
        obs, _, terminated, truncated, info = plain.step(actions)
        ended = terminated | truncated
        got, _, _, _, got_info = pool.step(actions)
        assert ("final_obs" in got_info) == ("final_obs" in info)
        if "final_obs" in info:
            assert_equal(got_info["final_obs"], stacker.push(info["final_obs"]))
            assert_equal(got, stacker.reset(obs, np.flatnonzero(ended)))
        else:
            assert_equal(got, stacker.push_and_reset(obs, fresh))
        assert pool.observation_space.contains(copied(got))
    plain.close(), pool.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_channels_last_stacks_channels(backend: str) -> None:
    images = pictures()
    first = make(backend, frame_stack=3, **images)
    last = make(backend, frame_stack=3, channels_last=True, **images)
    expected, got = first.reset()[0], last.reset()[0]
    for actions in draw_actions(6):
        assert last.single_observation_space["corner2"].shape == (12, 12, 9)
        for key in ("corner2", "topview"):
            np.testing.assert_array_equal(got[key].transpose(0, 3, 1, 2), expected[key])
        np.testing.assert_array_equal(got["state"], expected["state"])
        expected, got = first.step(actions)[0], last.step(actions)[0]
    first.close(), last.close()


@pytest.mark.parametrize("source", BACKENDS)
@pytest.mark.parametrize("target", BACKENDS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_state_carries_its_frames(source: str, target: str, channels_last: bool) -> None:
    options = {"frame_stack": {"state": 3, "topview": 2}, "channels_last": channels_last, **pictures()}
    one, other = make(source, **options), make(target, **options)
    one.reset()
    for actions in draw_actions(3):
        latest = copied(one.step(actions)[0])
    state = one.get_state()
    assert state["frames/state"].shape == (N, 3, 39)
    assert state["frames/topview"].shape == ((N, 2, 12, 12, 3) if channels_last else (N, 2, 3, 12, 12))
    assert "frames/corner2" not in state
    assert_equal(other.set_state(state), latest)
    for actions in draw_actions(3):
        assert_equal(other.step(actions)[0], one.step(actions)[0])
    with pytest.raises(ValueError, match=r"unknown \['frames/state', 'frames/topview'\]"):
        make(target).set_state(state)
    one.close(), other.close()


@pytest.mark.skipif("native" not in BACKENDS, reason="no native backend in this build")
@pytest.mark.parametrize("batch_size", [1, 2])
def test_send_and_recv_give_the_same_stacks(batch_size: int) -> None:
    images, rounds = pictures(), 12
    actions = draw_actions(rounds)
    sync = make("native", frame_stack=2, **images)
    sync.reset()
    trajectory = []
    for action in actions:
        obs, _, _, truncated, info = sync.step(action)
        final = copied(info["final_obs"]) if "final_obs" in info else None
        trajectory.append((copied(obs), truncated.copy(), final))
    pool = make("native", frame_stack=2, batch_size=batch_size, **images)
    pool.reset()
    pool.send(actions[0])
    taken = np.zeros(N, dtype=int)
    while taken.max() < rounds - 1:
        obs, _, _, truncated, info = pool.recv()
        for row, env in enumerate(info["env_id"]):
            expected, ended, final = trajectory[taken[env]]
            for key, value in expected.items():
                np.testing.assert_array_equal(obs[key][row], value[env])
                if ended[env]:
                    np.testing.assert_array_equal(info["final_obs"][key][row], final[key][env])
            assert truncated[row] == ended[env]
        ids = info["env_id"]
        taken[ids] += 1
        pool.send(actions[taken[ids], ids], ids)
    assert taken.min() > 4
    sync.close(), pool.close()


@pytest.mark.skipif("native" not in BACKENDS, reason="no native backend in this build")
def test_stacks_allocate_nothing_per_step() -> None:
    pool = make("native", frame_stack=3)
    pool.reset()
    addresses = [pool.step(actions)[0]["state"].ctypes.data for actions in draw_actions(6)]
    assert len(set(addresses)) == 2 and addresses[0] == addresses[2]
    pool.close()
