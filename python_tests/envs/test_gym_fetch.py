"""FetchPickAndPlace, an environment that no one here wrote, as its package makes it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import gymnasium
import numpy as np
import pytest

from ibrl_fast import collect_demonstrations, make_pool

EXAMPLE = Path(__file__).parents[2] / "examples" / "04_gymnasium_environment.py"
pytest.importorskip("gymnasium_robotics", reason="needs the extra ibrl_fast[robotics]")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_04", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_stepped_as_it_is(example: ModuleType) -> None:
    pool = make_pool(example.TASK, action_repeat=2, max_episode_steps=100, autoreset="disabled")
    assert pool.task.joined == {"state": ("achieved_goal", "desired_goal", "observation")}
    assert pool.task.control_period == 0.04 and pool.task.control_low is None
    bare = gymnasium.make(example.TASK.removeprefix("gym:"))
    keys = pool.task.joined["state"]
    seen, _ = pool.reset(seed=[5])
    expected, _ = bare.reset(seed=5)
    random = np.random.default_rng(0)
    for step in range(1, 26):
        state = np.concatenate([expected[key] for key in keys]).astype(np.float32)
        np.testing.assert_array_equal(seen["state"][0], state)
        action = random.uniform(-1, 1, (1, 4)).astype(np.float32)
        seen, reward, terminated, truncated, info = pool.step(action)
        reports = []
        for _ in range(2):
            expected, _, _, timed_out, report = bare.step(action[0])
            reports.append(bool(report["is_success"]))
        assert info["success"][0] == any(reports) == reward[0] == terminated[0]
        # its own limit of 50 steps
        assert truncated[0] == timed_out == (step == 25)


def test_the_examples_controller_solves_it(example: ModuleType) -> None:
    options = {"max_episode_steps": 25, "state_keys": example.KEYS}
    demos = collect_demonstrations(
        example.TASK, 5, expert=example.pick_and_place, success_only=False, **options
    )
    assert all(demo.success for demo in demos) and max(map(len, demos)) <= 20
