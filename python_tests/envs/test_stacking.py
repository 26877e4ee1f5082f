"""The stacker against a plain list of past observations."""

import numpy as np
import pytest

from ibrl_fast.envs import ObservationStacker


def reference_stack(history, stack):
    """Newest first, the first one repeated; history is a list of [F, ...] of one episode."""
    chosen = [history[max(len(history) - 1 - back, 0)] for back in range(stack)]
    return np.concatenate(chosen, axis=0)


def test_equals_a_plain_history_with_episodes_of_different_lengths():
    rng = np.random.default_rng(0)
    stacks = {"state": 3, "camera": 2}
    stacker = ObservationStacker(4, stacks)
    shapes = {"state": (4, 5), "camera": (4, 3, 6, 6), "proprio": (4, 2)}

    def draw():
        return {
            key: (
                rng.integers(0, 255, shape).astype(np.uint8)
                if key == "camera"
                else rng.normal(size=shape).astype("f4")
            )
            for key, shape in shapes.items()
        }

    observations = draw()
    histories = {key: [[value[row]] for row in range(4)] for key, value in observations.items()}
    stacked = stacker.reset(observations)
    for step in range(25):
        for key, value in stacked.items():
            expected = np.stack(
                [reference_stack(histories[key][row], stacks.get(key, 1)) for row in range(4)]
            )
            np.testing.assert_array_equal(value, expected)
            assert value.dtype == observations[key].dtype
        observations, ended = draw(), rng.random(4) < 0.3
        for key, value in observations.items():
            for row in range(4):
                histories[key][row] = [value[row]] if ended[row] else [*histories[key][row], value[row]]
        if step % 2 == 0 and not ended.any():
            stacked = stacker.push(observations)
        else:
            stacked = stacker.push_and_reset(observations, ended)


def test_returned_stacks_are_the_callers():
    stacker = ObservationStacker(1, {"state": 2})
    first = stacker.reset({"state": np.ones((1, 2))})["state"]
    stacker.push({"state": np.zeros((1, 2))})
    np.testing.assert_array_equal(first, np.ones((1, 4)))


def test_continues_from_its_state():
    rng = np.random.default_rng(0)
    one, other = ObservationStacker(2, {"state": 3}), ObservationStacker(2, {"state": 3})
    one.reset({"state": rng.normal(size=(2, 4))})
    one.push({"state": rng.normal(size=(2, 4))})
    other.load_state_dict(one.state_dict())
    following = {"state": rng.normal(size=(2, 4))}
    np.testing.assert_array_equal(one.push(following)["state"], other.push(following)["state"])
    with pytest.raises(ValueError, match=r"state\['state'\]: expected \[2, 3\]"):
        other.load_state_dict({"state": np.zeros((2, 2, 4))})


def test_bad_input():
    with pytest.raises(ValueError, match="num_envs: expected at least 1, got 0"):
        ObservationStacker(0, {})
    for stack in (0, 1.5, True):
        with pytest.raises(ValueError, match=r"stacks\['state'\]: expected an integer of at least 1"):
            ObservationStacker(1, {"state": stack})
    stacker = ObservationStacker(2, {"state": 2})
    with pytest.raises(RuntimeError, match=r"expected reset\(\) before the first step"):
        stacker.push({"state": np.zeros((2, 3))})
    with pytest.raises(ValueError, match=r"missing \['state'\]"):
        stacker.reset({"image": np.zeros((2, 3))})
    with pytest.raises(ValueError, match=r"state: expected \[2, ...\], got \[3, 3\]"):
        stacker.reset({"state": np.zeros((3, 3))})
    stacker.reset({"state": np.zeros((2, 3))})
    with pytest.raises(ValueError, match=r"state: expected \[2, 3\], got \[2, 4\]"):
        stacker.push({"state": np.zeros((2, 4))})
